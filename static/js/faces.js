// Boxes around faces at a moment, moved smoothly between the frames that were looked at.
const LONGEST_GAP_S = 1.2; // further apart, the person may have left the picture meanwhile

export function drawFaces(group, faces, time, data, width, namespace) {
  if (!group) return;
  group.replaceChildren();
  for (const face of facesAt(faces, time, data.kind === "image")) {
    const level = levelOf(face.score, data);
    group.append(
      makeBox(namespace, face.box, "face-halo"),
      makeBox(namespace, face.box, `face-box is-${level}`),
      makeTag(namespace, face, width),
    );
  }
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

function makeBox(namespace, [x, y, w, h], classes) {
  const box = document.createElementNS(namespace, "rect");
  for (const [name, value] of Object.entries({ x, y, width: w, height: h, rx: w / 24, class: classes })) {
    box.setAttribute(name, value);
  }
  return box;
}

function makeTag(namespace, face, width) {
  const tag = document.createElementNS(namespace, "text");
  const size = Math.max(width / 48, 9);
  tag.setAttribute("class", "face-tag");
  tag.setAttribute("x", face.box[0]);
  tag.setAttribute("y", Math.max(face.box[1] - size * 0.5, size));
  tag.setAttribute("font-size", size);
  tag.setAttribute("stroke-width", size / 5);
  const score = face.score === null || face.score === undefined ? "" : `, ${Math.round(100 * face.score)} %`;
  tag.textContent = `Person ${face.track + 1}${score}`;
  return tag;
}
