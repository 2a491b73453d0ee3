"use strict";
// What hands do to one map: drag, wheel, click, lasso, two fingers, keys. Knows a chart and what the page wants to be
// told; nothing of what is drawn.

const NEAR = {mouse: 12, pen: 16, touch: 26};  // pixels at which a point is under the pointer
const CLICK = 5;                               // pixels a click may move

class Gestures {
  constructor(chart, on) {
    this.chart = chart;
    this.on = on;
    this.pointers = new Map();
    this.pressed = null;
    const {canvas} = chart;
    const at = (event) => {
      const box = canvas.getBoundingClientRect();
      return [event.clientX - box.left, event.clientY - box.top];
    };
    canvas.addEventListener("wheel", (event) => {
      event.preventDefault();
      this.chart.zoom(Math.exp(-event.deltaY * (event.deltaMode ? .05 : .0016)), ...at(event));
    }, {passive: false});
    canvas.addEventListener("pointerdown", (event) => {
      if (event.button) return;
      canvas.setPointerCapture(event.pointerId);
      this.pointers.set(event.pointerId, at(event));
      this.pressed = this.pointers.size === 1 ? at(event) : null;
      this.chart.path = this.chart.state.lassoing && this.pointers.size === 1 ? [at(event)] : null;
      this.leaveKeys();
    });
    canvas.addEventListener("pointermove", (event) => this.moved(event, at(event)));
    canvas.addEventListener("pointerup", (event) => this.released(event, at(event)));
    canvas.addEventListener("pointercancel", (event) => {
      this.pointers.delete(event.pointerId);
      this.pressed = this.chart.path = null;
      this.chart.redraw();
    });
    canvas.addEventListener("pointerleave", () => this.on.hover(-1));
    canvas.addEventListener("dblclick", (event) => this.chart.zoom(2, ...at(event)));
    canvas.addEventListener("keydown", (event) => this.key(event));
    canvas.addEventListener("focus", () => {
      this.chart.keyed = canvas.matches(":focus-visible");
      this.chart.redraw();
    });
    canvas.addEventListener("blur", () => this.leaveKeys());
  }

  leaveKeys() {
    if (!this.chart.keyed) return;
    this.chart.keyed = false;
    this.chart.redraw();
  }

  moved(event, [px, py]) {
    const before = this.pointers.get(event.pointerId);
    if (!before) {
      this.on.hover(this.chart.nearest(px, py, NEAR[event.pointerType] || 12), event);
      return;
    }
    if (this.pressed && Math.hypot(px - this.pressed[0], py - this.pressed[1]) > CLICK) {
      this.pressed = null;
      this.chart.canvas.classList.toggle("dragging", !this.chart.path);
    }
    if (this.pointers.size === 2) {
      const other = [...this.pointers].find(([id]) => id !== event.pointerId)[1];
      const spread = (one) => Math.max(1, Math.hypot(one[0] - other[0], one[1] - other[1]));
      // what was under the middle of the fingers stays there
      this.chart.move((px - before[0]) / 2, (py - before[1]) / 2);
      this.chart.zoom(spread([px, py]) / spread(before), (px + other[0]) / 2, (py + other[1]) / 2);
    } else if (this.chart.path) {
      this.chart.path.push([px, py]);
      this.chart.redraw();
    } else if (!this.pressed && event.pointerType !== "touch") {
      this.chart.move(px - before[0], py - before[1]);
    }
    // a drag only moves once it is none of a click's trembling
    if (!this.pressed || this.pointers.size > 1) this.pointers.set(event.pointerId, [px, py]);
  }

  released(event, [px, py]) {
    const path = this.chart.path;
    this.pointers.delete(event.pointerId);
    this.chart.canvas.classList.remove("dragging");
    this.chart.path = null;
    if (path && path.length > 5) this.on.select(this.chart.inside(path), event.shiftKey);
    else if (this.pressed) this.on.pin(this.chart.nearest(px, py, NEAR[event.pointerType] || 12));
    this.pressed = null;
    this.chart.redraw();
  }

  key(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const step = event.shiftKey ? 120 : 40;
    const does = {
      ArrowLeft: () => this.chart.move(step, 0), ArrowRight: () => this.chart.move(-step, 0),
      ArrowUp: () => this.chart.move(0, step), ArrowDown: () => this.chart.move(0, -step),
      "+": () => this.chart.zoom(1.3), "=": () => this.chart.zoom(1.3), "-": () => this.chart.zoom(1 / 1.3), "0": () => this.chart.fit(),
      Enter: () => this.on.pin(this.chart.nearest(this.chart.width / 2, this.chart.height / 2, this.chart.width)),
      " ": () => this.on.pin(this.chart.nearest(this.chart.width / 2, this.chart.height / 2, this.chart.width)),
      n: () => this.on.step(1), p: () => this.on.step(-1),
    }[event.key.length === 1 ? event.key.toLowerCase() : event.key];
    if (!does) return;
    event.preventDefault();
    this.chart.keyed = true;
    does();
    this.chart.redraw();
  }
}
