"""A real Postgres server that tests start and stop. Reads a folder, produces databases in it."""

from __future__ import annotations

import itertools
import os
import pwd
import shutil
import subprocess
import tempfile
from contextlib import contextmanager
from pathlib import Path

import pytest
import sqlalchemy as sa

BINARIES = sorted(Path("/usr/lib/postgresql").glob("*/bin/pg_ctl"))
PORT = 54329  # names the socket only: the server listens on no address
_numbers = itertools.count()


class PostgresServer:
    """A Postgres server in a folder of its own, reached by a socket in it."""

    def __init__(self, folder):
        self.folder = folder
        self.data = folder / "data"
        # Postgres refuses to run as root.
        self.account = (
            ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups"] if os.geteuid() == 0 else []
        )
        if self.account:
            owner = pwd.getpwnam("postgres")
            os.chown(folder, owner.pw_uid, owner.pw_gid)

    def run(self, program, *args):
        command = [*self.account, BINARIES[-1].with_name(program), *args]
        subprocess.run(command, check=True, cwd=self.folder, stdout=subprocess.DEVNULL, timeout=120)

    def start(self):
        options = f"-k {self.folder} -p {PORT} -c listen_addresses='' -c fsync=off"
        self.run("pg_ctl", "start", "-w", "-D", self.data, "-l", self.folder / "log", "-o", options)

    def stop(self):
        self.run("pg_ctl", "stop", "-w", "-D", self.data, "-m", "immediate")

    def url(self, database):
        return f"postgresql+psycopg://xdrec@/{database}?host={self.folder}&port={PORT}"

    def new_database(self):
        """URL of a database of its own for one test."""
        name = f"store{next(_numbers)}"
        engine = sa.create_engine(self.url("postgres"), isolation_level="AUTOCOMMIT")
        with engine.connect() as connection:
            connection.exec_driver_sql(f"CREATE DATABASE {name}")
        engine.dispose()
        return self.url(name)


@contextmanager
def postgres():
    """A server that runs."""
    if not BINARIES:
        pytest.skip("the programs of a Postgres server are not installed: apt-get install postgresql")
    folder = Path(tempfile.mkdtemp(prefix="pg"))  # short: a socket's path has at most 107 characters
    server = PostgresServer(folder)
    try:
        server.run(
            "initdb", "-D", server.data, "-A", "trust", "-U", "xdrec", "-E", "UTF8", "--locale=C.UTF-8", "--no-sync"
        )
        server.start()
        yield server
        server.stop()
    finally:
        shutil.rmtree(folder)
