// Frame by frame, speed, and repeating a stretch.
const SPEEDS = [0.25, 0.5, 1, 1.5, 2];

export function makeTransport(player, media, data, { seek, now, length, show }) {
  const isVideo = data.kind === "video";
  const number = player.querySelector("[data-frame-number]");
  const speed = player.querySelector("[data-speed]");
  const loops = [...player.querySelectorAll("[data-loop]")];
  const total = data.frames || Math.max(1, Math.round(data.duration * data.fps));
  let presented = -1; // media time of the frame on the screen, where the browser tells
  let repeated = null;

  // The browser says which frame it has painted; without that, the clock must do.
  if (isVideo && "requestVideoFrameCallback" in media) {
    const note = (moment, frame) => {
      presented = frame.mediaTime;
      show();
      media.requestVideoFrameCallback(note);
    };
    media.requestVideoFrameCallback(note);
  }

  function frameNow() {
    const time = now();
    const painted = presented >= 0 && Math.abs(presented - time) < 1.5 / data.fps;
    const frame = painted && !media.seeking ? Math.round(presented * data.fps) : Math.floor(time * data.fps + 0.01);
    return Math.min(Math.max(frame, 0), total - 1);
  }

  function step(count) {
    media.pause();
    const wanted = Math.min(Math.max(frameNow() + count, 0), total - 1);
    seek(Math.min((wanted + 0.5) / data.fps, length()));
  }

  function repeat(button) {
    repeated = button === repeated ? null : button;
    for (const one of loops) one.setAttribute("aria-pressed", String(one === repeated));
    if (!repeated) return;
    seek(Number(repeated.dataset.loop));
    media.play();
  }

  function showNow(time) {
    if (number) number.textContent = String(frameNow() + 1); // people count from one
    if (!repeated || media.seeking) return;
    const start = Number(repeated.dataset.loop);
    const end = Number(repeated.dataset.loopEnd);
    if (time >= Math.min(end, length() - 0.02) || time < start - 0.1) media.currentTime = start;
  }

  function setSpeed(by) {
    const place = SPEEDS.indexOf(media.playbackRate);
    media.playbackRate = SPEEDS[Math.min(Math.max((place < 0 ? 2 : place) + by, 0), SPEEDS.length - 1)];
  }

  function press(event) {
    if (isVideo && (event.key === "," || event.key === ".")) step(event.key === "." ? 1 : -1);
    else if (event.key === "[" || event.key === "]") setSpeed(event.key === "]" ? 1 : -1);
    else if (event.key === "l" && loops.length > 0) repeat(repeated || nearest(loops, now()));
    else return false;
    return true;
  }

  for (const button of player.querySelectorAll("[data-step]")) {
    button.addEventListener("click", () => step(Number(button.dataset.step)));
  }
  for (const button of loops) button.addEventListener("click", () => repeat(button));
  speed?.addEventListener("change", () => {
    media.playbackRate = Number(speed.value);
  });
  media.addEventListener("ratechange", () => {
    if (speed && SPEEDS.includes(media.playbackRate)) speed.value = String(media.playbackRate);
  });
  media.addEventListener("ended", () => {
    if (!repeated) return;
    seek(Number(repeated.dataset.loop));
    media.play();
  });

  return { show: showNow, press };
}

function nearest(loops, time) {
  const away = (button) => {
    const start = Number(button.dataset.loop);
    const end = Number(button.dataset.loopEnd);
    return time < start ? start - time : Math.max(0, time - end);
  };
  return loops.reduce((best, button) => (away(button) < away(best) ? button : best));
}
