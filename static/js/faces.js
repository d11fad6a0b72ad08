// Boxes around faces, moved smoothly between the frames that were looked at, and one person followed in a close-up.
const SVG = "http://www.w3.org/2000/svg";
const LONGEST_GAP_S = 1.2; // further apart, the person may have left the picture meanwhile
const TAG_PX = 13; // the least height of a name on the screen
const ROOM = 0.35; // around the face in the close-up, as a share of its larger side

export function makeFaces(player, media, data, redraw) {
  const overlay = player.querySelector("[data-overlay]");
  const group = overlay?.querySelector("[data-faces]");
  const button = player.querySelector("[data-toggle-faces]");
  const follows = [...player.querySelectorAll("[data-follow]")];
  const closeUp = player.querySelector("[data-close-up]");
  let followed = null;

  function show(time) {
    if (!group) return;
    const found = facesAt(data.faces, time, data.kind === "image");
    group.replaceChildren();
    if (isOn(button)) {
      for (const face of found) draw(group, face, data, unitsOf(overlay), followed);
    }
    if (closeUp) drawCloseUp(closeUp, media, found.find((face) => face.track === followed), data, overlay.viewBox.baseVal);
  }

  function follow(track) {
    followed = track === followed ? null : track;
    for (const one of follows) one.setAttribute("aria-pressed", String(Number(one.dataset.follow) === followed));
    for (const curve of player.querySelectorAll("[data-track]")) {
      curve.classList.toggle("is-faint", followed !== null && Number(curve.dataset.track) !== followed);
    }
    if (closeUp) closeUp.hidden = followed === null;
    redraw();
  }

  function press(event) {
    if (event.key === "f" && button) button.click();
    else if (event.key === "o" && follows.length > 0) {
      const place = follows.findIndex((one) => Number(one.dataset.follow) === followed);
      follow(place + 1 < follows.length ? Number(follows[place + 1].dataset.follow) : followed);
    } else return false;
    return true;
  }

  for (const one of follows) one.addEventListener("click", () => follow(Number(one.dataset.follow)));
  button?.addEventListener("click", () => {
    button.setAttribute("aria-pressed", String(!isOn(button)));
    redraw();
  });
  if (data.kind === "image") media.addEventListener("load", redraw);
  if (group && window.ResizeObserver) new ResizeObserver(redraw).observe(overlay); // names keep their size on the screen
  return { show, press };
}

function isOn(button) {
  return button?.getAttribute("aria-pressed") === "true";
}

// How large a tag is in the picture's own pixels: small pictures and narrow screens keep it readable.
function unitsOf(overlay) {
  const frame = overlay.viewBox.baseVal;
  const box = overlay.getBoundingClientRect();
  const scale = Math.min(box.width / frame.width, box.height / frame.height);
  return Math.max(frame.width / 48, scale > 0 ? TAG_PX / scale : 9);
}

function draw(group, face, data, size, followed) {
  const faint = followed !== null && face.track !== followed ? " is-faint" : "";
  group.append(
    makeBox(face.box, `face-halo${faint}`),
    makeBox(face.box, `face-box is-${data.facesCheck ? levelOf(face.score, data) : "none"}${faint}`),
    makeTag(face, data, size, faint),
  );
}

function facesAt(faces, time, isStill) {
  const tracks = new Map();
  for (const [moment, track, x, y, w, h, score] of faces) {
    if (!tracks.has(track)) tracks.set(track, []);
    tracks.get(track).push({ moment, track, box: [x, y, w, h], score });
  }
  const found = [];
  for (const seen of tracks.values()) {
    const face = isStill ? seen[0] : between(seen, time);
    if (face) found.push(face);
  }
  return found;
}

function between(seen, time) {
  const next = seen.findIndex((face) => face.moment >= time);
  const after = seen[next];
  const before = next < 0 ? seen[seen.length - 1] : seen[next - 1];
  if (!before) return after && after.moment - time < LONGEST_GAP_S / 2 ? after : null;
  if (!after) return time - before.moment < LONGEST_GAP_S / 2 ? before : null;
  const gap = after.moment - before.moment;
  if (gap > LONGEST_GAP_S) return null;
  const share = gap > 0 ? (time - before.moment) / gap : 0;
  const nearer = share < 0.5 ? before : after;
  return { ...nearer, box: before.box.map((value, index) => value + share * (after.box[index] - value)) };
}

function levelOf(score, data) {
  if (score === null || score === undefined) return "none";
  if (score >= data.fakeAt) return "high";
  return score < data.realBelow ? "low" : "middle";
}

function makeBox([x, y, w, h], classes) {
  const box = document.createElementNS(SVG, "rect");
  for (const [name, value] of Object.entries({ x, y, width: w, height: h, rx: w / 24, class: classes })) {
    box.setAttribute(name, value);
  }
  return box;
}

function makeTag(face, data, size, faint) {
  const tag = document.createElementNS(SVG, "text");
  tag.setAttribute("class", `face-tag${faint}`);
  tag.setAttribute("x", face.box[0]);
  tag.setAttribute("y", Math.max(face.box[1] - size * 0.5, size));
  tag.setAttribute("font-size", size);
  tag.setAttribute("stroke-width", size / 5);
  const hasScore = data.facesCheck && face.score !== null && face.score !== undefined;
  const score = !hasScore ? "" : `, ${Math.min(Math.max(Math.round(100 * face.score), 1), 99)} %`;
  tag.textContent = `Person ${letter(face.track)}${score}`;
  return tag;
}

function letter(track) {
  return track < 26 ? String.fromCharCode(65 + track) : String(track + 1);
}

// The media may be shown in another size than its boxes are given in.
function drawCloseUp(canvas, media, face, data, frame) {
  if (canvas.hidden) return;
  const pen = canvas.getContext("2d");
  pen.clearRect(0, 0, canvas.width, canvas.height);
  const width = media.videoWidth || media.naturalWidth;
  if (!face || !width) return;
  const scale = width / frame.width;
  const [x, y, w, h] = face.box.map((value) => value * scale);
  const side = Math.max(w, h) * (1 + 2 * ROOM);
  pen.drawImage(media, x + w / 2 - side / 2, y + h / 2 - side / 2, side, side, 0, 0, canvas.width, canvas.height);
}
