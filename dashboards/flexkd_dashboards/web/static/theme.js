"use strict";
// Before the page is painted: the colours that were chosen in this browser.
{
  const theme = localStorage.getItem("theme");
  if (theme) document.documentElement.dataset.theme = theme;
}
