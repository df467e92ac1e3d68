// Reads the chosen theme, sets it before anything is drawn. Without a choice the system's holds.
"use strict";
const chosen = localStorage.getItem("xdrec.theme");
if (chosen === "dark" || chosen === "light") document.documentElement.dataset.theme = chosen;
