// What moves on the design page: a real toast, a real dialog.
import { toast } from "./toast.js";

export function init(root) {
  for (const button of root.querySelectorAll("[data-toast-demo]")) {
    button.addEventListener("click", () => toast("Moved to the archive.", { undo: () => toast("Moved back.") }));
  }
  for (const button of root.querySelectorAll("[data-dialog-demo]")) {
    button.addEventListener("click", () => root.getElementById(button.dataset.dialogDemo).showModal());
  }
}

init(document);
