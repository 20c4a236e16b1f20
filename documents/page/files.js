// Files out of what was dropped or chosen, folders with all that is in them.

/** More at a time are not taken: their names alone would fill the page. */
export const FILES_MAX = 20000;

/** What file managers leave in every folder, and nobody means to upload. */
const LEFT_BEHIND = new Set([".DS_Store", "Thumbs.db", "desktop.ini"]);

/** Of a drop: `{ files: [{ file, path }], skipped, unread }`. Entries are taken before the first wait: the browser empties the drop then. */
export async function dropped(transfer) {
  const items = [...transfer.items].filter((item) => item.kind === "file");
  const found = { files: [], skipped: 0, unread: [] };
  const taken = items.map((item) => ({ entry: item.webkitGetAsEntry?.(), file: item.getAsFile() }));
  for (const { entry, file } of taken) {
    if (entry) await walk(entry, "", found);
    else if (file) found.files.push({ file, path: file.name });
  }
  return found;
}

/** Of an input; with a folder each file knows its path in it. */
export function chosen(list) {
  const files = [...list].map((file) => ({ file, path: file.webkitRelativePath || file.name }));
  const meant = files.filter(({ file, path }) => path === file.name || !LEFT_BEHIND.has(file.name));
  return { files: meant.slice(0, FILES_MAX + 1), skipped: files.length - meant.length, unread: [] };
}

async function walk(entry, folder, found) {
  if (found.files.length > FILES_MAX) return;
  const path = folder + entry.name;
  try {
    if (entry.isFile) {
      if (folder && LEFT_BEHIND.has(entry.name)) found.skipped += 1;
      else found.files.push({ file: await new Promise((done, failed) => entry.file(done, failed)), path });
    } else {
      for (const inner of await listed(entry.createReader())) await walk(inner, `${path}/`, found);
    }
  } catch {
    found.unread.push(path);
  }
}

/** A reader gives a hundred at a time, and none at the end. */
async function listed(reader) {
  const all = [];
  for (;;) {
    const some = await new Promise((done, failed) => reader.readEntries(done, failed));
    if (some.length === 0 || all.length > FILES_MAX) return all;
    all.push(...some);
  }
}
