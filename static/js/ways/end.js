// How a way of hearing news ended: what to do next depends on it.

export const End = Object.freeze({
  BROKEN: "broken", // for whatever reason
  UNREACHABLE: "unreachable", // nobody is there, or only a proxy in front of nobody: says nothing of the way itself
  MOVED: "moved", // the server asks to come back, to whoever serves then
  CROWDED: "crowded", // this page, or all of this person's pages together, ask too much
  SIGNED_OUT: "signed-out",
});
