// How readers have the answers of this page before them: what they opened, wrapped and scrolled. Kept by the message's
// id, so that the HTML which takes the place of a streamed answer looks as that did.

const MOST = 50; // answers; the oldest is forgotten
const views = new Map();

// By the places of blocks of code: the heights of diagrams, and how far down is scrolled, in pixels.
const FRESH = () => ({ drawn: new Map(), scrolled: new Map(), wrapped: new Set() });

/** Return the view of a message; without an id, one that is kept by nobody else. */
export function viewOf(id) {
  const view = views.get(id) ?? { ...FRESH(), isOpen: false, thoughtFor: null };
  if (id) {
    views.set(id, view);
  }
  if (views.size > MOST) {
    views.delete(views.keys().next().value);
  }
  return view;
}
