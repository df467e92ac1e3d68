"""Layouts of data sets and of people's exports. Reads their files, produces tables and mentions of works."""
