// When the session has ended, says so and leaves the page as it is: what was typed and what waits to be sent stays.
// Somebody signs in in another tab; then forms get the new session's token, the bar goes and panels look again.
const ASK_MS = 5000;

let bar = null;
let timer = 0;

export function init(root) {
  bar = root.querySelector("[data-signed-out]");
  document.addEventListener("visibilitychange", () => {
    if (isSignedOut() && !document.hidden) ask();
  });
}

export function isSignedOut() {
  return Boolean(bar) && !words().hidden;
}

// Whether an answer, or the address that it came from, is the page of sign-in.
export function isSignIn(address) {
  return Boolean(bar) && new URL(address, location.href).pathname === signIn().pathname;
}

export function tellSignedOut() {
  if (!bar || isSignedOut()) return;
  words().hidden = false;
  clearTimeout(timer);
  timer = setTimeout(ask, ASK_MS);
}

// A sign-in changes the token that forms are sent with; this page has the old one. Says whether it has a new one now.
export async function renewTokens() {
  const response = await fetch(location.pathname + location.search, { cache: "no-store" });
  const fresh = new DOMParser().parseFromString(await response.text(), "text/html");
  const token = fresh.querySelector("[name=csrfmiddlewaretoken]")?.value;
  if (!token || isSignIn(response.url)) return false;
  if (fresh.body.dataset.member !== document.body.dataset.member) {
    location.reload(); // somebody else: nothing on this page is theirs
    return false;
  }
  for (const field of document.querySelectorAll("[name=csrfmiddlewaretoken]")) field.value = token;
  return true;
}

async function ask() {
  clearTimeout(timer);
  try {
    // A redirect is not followed: the page of sign-in has words for the person, and says them once.
    const response = document.hidden ? null : await fetch(bar.dataset.url, { cache: "no-store", redirect: "manual" });
    if (response?.ok && (await renewTokens())) {
      words().hidden = true;
      document.dispatchEvent(new CustomEvent("signed-in"));
      return;
    }
  } catch {
    // No connection: the next round asks again.
  }
  clearTimeout(timer);
  timer = setTimeout(ask, ASK_MS);
}

function words() {
  return bar.querySelector("p");
}

function signIn() {
  return bar.querySelector("a");
}
