// Mouse and touch on a viewer's pictures, told to Python through a hidden text box: drag to move, with Shift to turn,
// double click or Ctrl and the wheel (a pinch on a touchpad) to zoom, click on the whole sky to go there.
// Listeners are the page's, once for all viewers, so that a picture may come, go and be shown twice.
(function () {
  if (window.lensrecViewer) return;
  window.lensrecViewer = true;

  let number = Date.now(); // of the gesture: Python counts each from where the view was when it began
  let held = null;
  let zoom = null;

  function place(picture, event) {
    const box = picture.getBoundingClientRect();
    return [(event.clientX - box.left) / box.width, (event.clientY - box.top) / box.height];
  }

  function tell(root, gesture) {
    const text = root.querySelector(".lensrec-gesture input");
    if (!text) return;
    text.value = JSON.stringify(gesture);
    text.dispatchEvent(new Event("input", { bubbles: true }));
  }

  function angle(at) {
    return (Math.atan2(at[0] - 0.5, 0.5 - at[1]) * 180) / Math.PI;
  }

  document.addEventListener("pointerdown", function (event) {
    const picture = event.target.closest && event.target.closest(".lensrec-patch, .lensrec-sky");
    if (!picture || event.button !== 0) return;
    event.preventDefault();
    const kind = picture.classList.contains("lensrec-sky") ? "go" : event.shiftKey ? "turn" : "move";
    held = { root: picture.closest(".lensrec-viewer"), picture, kind, from: place(picture, event), number: ++number };
    if (kind === "go") tell(held.root, { number, kind, at: held.from });
  });

  document.addEventListener("pointermove", function (event) {
    if (!held) return;
    event.preventDefault();
    const at = place(held.picture, event);
    const gesture = { number: held.number, kind: held.kind, at };
    if (held.kind === "move") gesture.by = [at[0] - held.from[0], at[1] - held.from[1]];
    if (held.kind === "turn") gesture.by = angle(at) - angle(held.from);
    tell(held.root, gesture);
  });

  for (const end of ["pointerup", "pointercancel"]) {
    document.addEventListener(end, function () {
      held = null;
    });
  }

  document.addEventListener("dragstart", function (event) {
    if (event.target.closest && event.target.closest(".lensrec-viewer")) event.preventDefault();
  });

  document.addEventListener("dblclick", function (event) {
    const picture = event.target.closest && event.target.closest(".lensrec-patch");
    if (!picture) return;
    const factor = event.shiftKey ? 2 : 0.5;
    tell(picture.closest(".lensrec-viewer"), { number: ++number, kind: "zoom", by: factor, at: place(picture, event) });
  });

  document.addEventListener(
    "wheel",
    function (event) {
      const picture = event.ctrlKey && event.target.closest && event.target.closest(".lensrec-patch");
      if (!picture) return;
      event.preventDefault();
      if (!zoom || event.timeStamp - zoom.last > 400) zoom = { number: ++number, by: 1, at: place(picture, event) };
      zoom.last = event.timeStamp;
      zoom.by *= Math.exp(0.002 * event.deltaY);
      tell(picture.closest(".lensrec-viewer"), { number: zoom.number, kind: "zoom", by: zoom.by, at: zoom.at });
    },
    { passive: false },
  );
})();
