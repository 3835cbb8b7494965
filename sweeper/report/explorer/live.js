// The page of a running sweep: its state every few seconds, and new trials in the same figures, whose filters stay.
(() => {
  const box = document.getElementById("live");
  let stamp = box.dataset.stamp, next = 0; // when the tables are to be read again: a large sweep takes seconds

  async function look() {
    let wait = 2000;
    try {
      const now = await (await fetch("/now")).json();
      box.innerHTML = now.html;
      wait = 1000 * now.every;
      if (now.stamp !== stamp && Date.now() > next && !document.getElementById("trial")?.open) await renew();
    } catch {
      box.dataset.lost = "yes"; // the server has ended
    }
    setTimeout(look, wait);
  }

  async function renew() {
    const began = Date.now(), found = await (await fetch("/data")).json();
    [stamp, next] = [found.stamp, Date.now() + 5 * (Date.now() - began)];
    if (!document.getElementById("data")) { location.reload(); return; } // the first trial has finished
    const {clock, log} = state;
    state.begin(await unpacked(found.data));
    Object.assign(state, {clock, log, hover: -1});
    state.sift();
    state.changed("scale");
  }
  setTimeout(look, 2000);
})();
