// Where items come from: chosen files, dropped files and folders, pasted pictures and addresses.
const MOST_FILES = 500; // of one folder or drop; more would fill the page before anybody could stop it
const MEDIA_NAME = /\.(heic|heif|mkv|mov|avi|mpe?g|m4a|m4v|mp4|webm|opus|flac|ogg|oga|mp3|wav|aac|jpe?g|png|gif|webp|bmp|tiff?)$/i;
const ADDRESS = /^https?:\/\/\S+$/i;

export function fromFiles(files) {
  return [...files].map((file) => ({ file, name: file.name }));
}

// A folder holds what nobody meant to send as well: what is no medium by its name or type is left out, and counted.
export function fromFolder(files) {
  const items = [];
  let others = 0;
  for (const file of files) {
    if (file.name.startsWith(".")) continue;
    if (!isMedium(file)) others += 1;
    else items.push({ file, name: file.webkitRelativePath || file.name });
  }
  return { items: items.slice(0, MOST_FILES), told: tell(others, items.length > MOST_FILES) };
}

export async function fromDrop(transfer) {
  // Entries must be asked for before anything is awaited: the drop is over then.
  const entries = [...(transfer.items || [])].map((item) => item.webkitGetAsEntry?.()).filter(Boolean);
  if (!entries.some((entry) => entry.isDirectory)) return { items: fromFiles(transfer.files), told: "" };
  const files = [];
  for (const entry of entries) await collect(entry, files);
  const { items, told } = fromFolder(files.filter((found) => found.inFolder).map((found) => found.file));
  const single = fromFiles(files.filter((found) => !found.inFolder).map((found) => found.file));
  return { items: [...single, ...items], told };
}

async function collect(entry, files, inFolder = false) {
  if (files.length > MOST_FILES * 4) return; // others are counted among them, so this is more than is taken
  if (entry.isFile) {
    const file = await new Promise((done) => entry.file(done, () => done(null)));
    if (file) files.push({ file, inFolder });
    return;
  }
  const reader = entry.createReader();
  for (;;) {
    // A reader gives at most a hundred entries at a time, and none when it is through.
    const some = await new Promise((done) => reader.readEntries(done, () => done([])));
    if (some.length === 0) return;
    for (const inner of some) await collect(inner, files, true);
  }
}

export function fromAddresses(text) {
  const lines = text.split(/\s*\n\s*/).map((line) => line.trim()).filter(Boolean);
  return [...new Set(lines)].map((url) => ({ url, name: url }));
}

export function fromPaste(event) {
  const files = [...(event.clipboardData?.files || [])];
  if (files.length > 0) return { items: files.map((file) => ({ file, name: pastedName(file) })), told: "" };
  if (event.target.closest?.("input, textarea, select, [contenteditable]")) return { items: [], told: "" };
  const lines = (event.clipboardData?.getData("text") || "").split("\n").map((line) => line.trim()).filter(Boolean);
  const others = lines.filter((line) => !ADDRESS.test(line));
  return { items: fromAddresses(lines.filter((line) => ADDRESS.test(line)).join("\n")), told: tellLines(others) };
}

// Every browser calls what comes from the clipboard image.png.
function pastedName(file) {
  if (file.name && file.name !== "image.png") return file.name;
  const ending = (file.type.split("/")[1] || "png").replace("jpeg", "jpg");
  const now = new Date();
  const local = new Date(now - 60000 * now.getTimezoneOffset()); // so that its UTC reads as the clock on the wall
  return `pasted ${local.toISOString().slice(0, 19).replace("T", " ").replaceAll(":", ".")}.${ending}`;
}

function tellLines(lines) {
  if (lines.length === 0) return "";
  const first = lines[0].length > 60 ? `${lines[0].slice(0, 60)}…` : lines[0];
  if (lines.length === 1) return `One pasted line was not taken, because it is no address: “${first}”.`;
  return `${lines.length} pasted lines were not taken, because they are no addresses; the first is “${first}”.`;
}

function isMedium(file) {
  return /^(image|video|audio)\//.test(file.type) || MEDIA_NAME.test(file.name);
}

function tell(others, isCut) {
  const parts = [];
  if (isCut) parts.push(`Only the first ${MOST_FILES} files of the folder were taken: drop the rest after these.`);
  if (others === 1) parts.push("One file was left out: it is no picture, clip or recording.");
  if (others > 1) parts.push(`${others} files were left out: they are no pictures, clips or recordings.`);
  return parts.join(" ");
}
