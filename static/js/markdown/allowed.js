// What may be in the HTML of an answer: the same as in chat/markdown.py, where the finished answer comes from.

export const TAGS = [
  ...["a", "blockquote", "br", "code", "div", "em", "h1", "h2", "h3", "h4", "h5", "h6", "hr", "li", "ol", "p"],
  ...["pre", "s", "span", "strong", "sup", "table", "tbody", "td", "th", "thead", "tr", "ul"],
];

export const ATTRIBUTES = ["class", "href", "start", "title"];

const ALIGNMENTS = ["align-left", "align-center", "align-right"];

export const CLASSES = {
  div: ["code", "code__bar", "footnote", "formula", "table"],
  span: ["formula", "task", "task--done"],
  sup: ["footnote-mark"],
  td: ALIGNMENTS,
  th: ALIGNMENTS,
};

export const LINKS = /^(?:https?|mailto):/i;

/** Return those of an element's class names that are allowed. */
export function allowedClasses(tag, names) {
  const allowed = CLASSES[tag] ?? [];
  return names.split(/\s+/).filter((name) => allowed.includes(name));
}

// Pygments' short names for kinds of tokens in code.
export const KINDS = new Set([
  ...["bp", "c", "c1", "ch", "cm", "cp", "cpf", "cs", "dl", "fm", "gd", "gh", "gi", "go", "gs", "gu", "il", "k", "kc"],
  ...["kd", "kn", "kp", "kr", "kt", "l", "ld", "m", "mb", "mf", "mh", "mi", "mo", "na", "nb", "nc", "nd", "ne", "nf"],
  ...["nl", "nn", "no", "nt", "nv", "ow", "py", "s", "s1", "s2", "sa", "sb", "sc", "sd", "se", "sh", "si", "sr", "ss"],
  ...["sx", "vc", "vg", "vi"],
]);
