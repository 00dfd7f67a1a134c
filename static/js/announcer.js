// Tells people who do not see the page what happens in it, in whole sentences.

/** Have a screen reader say `sentence` when it has nothing else to say. */
export function announce(sentence) {
  const region = document.getElementById("announcer");
  // The same sentence twice would be no change, and so not be said.
  region.textContent = region.textContent === sentence ? `${sentence}\u00a0` : sentence;
}
