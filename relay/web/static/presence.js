// Whether somebody is at this page: a key, a pointer or a touch not long ago, in a page that can be seen.

const LATELY_MS = 600000;
let last = performance.now();

for (const kind of ["pointerdown", "pointermove", "keydown", "wheel", "touchstart"]) addEventListener(kind, () => { last = performance.now(); }, { passive: true, capture: true });

export const busyLately = () => !document.hidden && performance.now() - last < LATELY_MS;
