// The files of an answer that is still being written. Those that are shown already stay where they are: a sound goes on
// playing, a picture does not blink.

import { parseOwn } from "./markup.js";

/** Show in `answer` the files of our server's HTML, in its order. */
export function showFiles(answer, html) {
  const [fresh] = parseOwn(html);
  const shown = answer.querySelector(".files");
  if (shown === null) {
    answer.append(fresh);
  } else {
    addMissing(shown, [...fresh.children]);
  }
}

/** Have `after`, the finished message, show the nodes that `before` shows, where both have the same file. */
export function keepFiles(before, after) {
  for (const file of after.querySelectorAll(".file")) {
    const shown = before.querySelector(`#${file.id}`);
    if (shown !== null) {
      file.replaceWith(shown);
    }
  }
}

function addMissing(shown, files) {
  let next = shown.firstElementChild;
  for (const file of files) {
    if (next?.id === file.id) {
      next = next.nextElementSibling;
    } else {
      shown.insertBefore(file, next);
    }
  }
}
