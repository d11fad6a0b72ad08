// Starts what the list of analyses can do beyond links and forms.
import { init as initKeys } from "./listkeys.js";
import { init as initSelection } from "./listselect.js";

export function start(root) {
  initSelection(root);
  initKeys(root);
}

start(document);
