// What a model takes of the files that were added to a message; the server says the same.

/**
 * Say why a model does not take these files, or "" if it does.
 *
 * @param {{name: string, kind: string}[]} files
 * @param {{name: string, files: string, rooms: Object<string, [string, number]>}} offer the model's name, what it takes
 *   in words, and for each kind of file the input that takes it and how many that takes
 * @param {number} most files of one message
 */
export function refusalOf(files, offer, most) {
  if (files.length > most) {
    return `There are ${files.length} files here, and one message takes ${most}. Remove some.`;
  }
  const counts = new Map();
  for (const { name, kind } of files) {
    if (!Object.hasOwn(offer.rooms, kind)) {
      return `${offer.name} takes ${offer.files}, so it cannot take “${name}”. Remove it, or choose another model.`;
    }
    const [input, room] = offer.rooms[kind];
    counts.set(input, (counts.get(input) ?? 0) + 1);
    if (counts.get(input) > room) {
      return `${offer.name} takes ${offer.files}, and there are more here. Remove some, or choose another model.`;
    }
  }
  return "";
}

/** Say what a file is, as the browser tells its type; the server looks at its first bytes. */
export function kindOf(type) {
  const [kind] = type.split("/");
  return ["image", "audio", "video"].includes(kind) ? kind : "file";
}

/** Write a number of bytes for people, as the server does. */
export function inBytes(size) {
  const units = ["bytes", "KB", "MB", "GB"];
  let value = size;
  let unit = 0;
  while (value >= 1024 && unit < units.length - 1) {
    value /= 1024;
    unit += 1;
  }
  return `${unit ? value.toFixed(1) : value} ${units[unit]}`;
}
