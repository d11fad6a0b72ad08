// Starts every behaviour on the page, and again on each part that live refresh puts in.
import { init as initDrafts } from "./drafts.js";
import { init as initFilters } from "./filters.js";
import { init as initFolds } from "./folds.js";
import { init as initHelp } from "./helpsheet.js";
import { init as initKeys } from "./keys.js";
import { init as initLive } from "./live.js";
import { init as initMenu } from "./menu.js";
import { init as initMoments } from "./moments.js";
import { init as initOffline } from "./offline.js";
import { init as initPalette } from "./palette.js";
import { init as initPasskeys } from "./passkeys.js";
import { init as initPasswords } from "./passwords.js";
import { init as initPlayer } from "./player.js";
import { init as initSignedOut } from "./signedout.js";
import { init as initTheme } from "./theme.js";
import { init as initUpload } from "./upload.js";

function start(root) {
  for (const element of root.querySelectorAll("[data-needs-script]")) element.hidden = false;
  initMoments(root);
  initPlayer(root);
  initFolds(root);
}

initTheme(document);
initMenu(document);
initKeys(document, { openHelp: initHelp(document) });
initPalette(document);
initOffline(document);
initSignedOut(document);
initDrafts(document);
start(document);
initPasswords(document);
initPasskeys(document);
initUpload(document);
initLive(document, start);
initFilters(document);
document.documentElement.classList.add("scripted");
