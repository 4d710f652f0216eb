// A classic script, run before the first paint: a chosen theme must not flash in the other one's colours.
try {
  const theme = JSON.parse(localStorage.getItem("voice.theme"));
  if (theme === "light" || theme === "dark") document.documentElement.dataset.theme = theme;
} catch {
  // the system's theme it is
}
