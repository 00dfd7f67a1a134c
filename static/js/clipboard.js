// Copies text, and says so on the button that was pressed.

import { announce } from "./announcer.js";

const SHOWN = 1500; // milliseconds

/** Put `text` on the clipboard; the button has `copied` for a moment. */
export async function copy(text, button) {
  try {
    await write(text);
  } catch {
    announce("The browser did not allow copying.");
    return;
  }
  announce("Copied.");
  button.toggleAttribute("copied", true);
  setTimeout(() => button.toggleAttribute("copied", false), SHOWN);
}

async function write(text) {
  if (navigator.clipboard) {
    await navigator.clipboard.writeText(text);
  } else {
    writeOverPlainHttp(text);
  }
}

// Browsers offer `navigator.clipboard` over https and on localhost only.
function writeOverPlainHttp(text) {
  const box = document.createElement("textarea");
  box.value = text;
  document.body.append(box);
  box.select();
  const done = document.execCommand("copy");
  box.remove();
  if (!done) {
    throw new Error("not allowed");
  }
}
