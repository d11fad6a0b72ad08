// Moments in the reader's own time zone; the cookie lets the server write and read dates in it from then on.
const zone = Intl.DateTimeFormat().resolvedOptions().timeZone || "UTC";
const forms = {
  short: { day: "numeric", month: "short", year: "numeric", hour: "2-digit", minute: "2-digit", hour12: false },
  long: {
    day: "numeric", month: "short", year: "numeric", hour: "2-digit", minute: "2-digit", second: "2-digit",
    hour12: false, timeZoneName: "short",
  },
};

export function init(root) {
  document.cookie = `timezone=${zone}; path=/; max-age=31536000; samesite=lax`;
  for (const element of root.querySelectorAll("[data-moment]")) {
    const moment = new Date(element.dateTime);
    element.textContent = new Intl.DateTimeFormat("en-GB", forms[element.dataset.moment]).format(moment);
    element.title = moment.toISOString();
  }
}
