// Menus: popovers with items (.menu__item), each beside the button that opens it.

const GAP = 4; // pixels between a menu and its button
const MARGIN = 8; // pixels between a menu and the window's edge

/** Show `menu` beside `button`, with the focus on its first item. */
export function openBeside(menu, button) {
  menu.showPopover();
  const place = button.getBoundingClientRect();
  const { offsetHeight, offsetWidth } = menu;
  const fits = place.bottom + GAP + offsetHeight + MARGIN <= window.innerHeight;
  const top = fits ? place.bottom + GAP : Math.max(place.top - GAP - offsetHeight, MARGIN);
  menu.style.top = `${top}px`;
  menu.style.left = `${Math.max(Math.min(place.left, window.innerWidth - offsetWidth - MARGIN), MARGIN)}px`;
  shownItems(menu)[0].focus();
}

/** Move the focus from item to item where an arrow was pressed. */
export function moveByArrow(menu, event) {
  const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
  if (step) {
    event.preventDefault();
    const items = shownItems(menu);
    const next = items.indexOf(document.activeElement) + step;
    items.at(next % items.length).focus();
  }
}

function shownItems(menu) {
  return [...menu.querySelectorAll(".menu__item")].filter((item) => !item.hidden);
}
