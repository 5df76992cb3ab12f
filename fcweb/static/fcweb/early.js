// Runs before first paint: rows keep the height this person chose, so nothing jumps.
"use strict";
try {
  const density = localStorage.getItem("density");
  if (density) document.documentElement.dataset.density = density;
} catch {
  // Storage is switched off: the compact rows stay.
}
