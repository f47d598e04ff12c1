// The page's side of a call, in the browser's audio thread: the microphone down to 8 kHz, the terminal's 8 kHz up to what the speakers want.
//
//   "mic"  input at the context's rate ── low pass ── every n-th moment ── Int16, 160 samples (20 ms) a message ──→ main thread
//   "ear"  main thread ── Int16 at 8 kHz ──→ cushion ── straight lines between samples ── output
//
// The ear begins when CUSHION is there and drops what lies beyond MOST, so that its delay does not grow.

const RATE = 8000;
const CHUNK = 160;
const CUSHION = 0.06 * RATE;
const MOST = 0.3 * RATE;

class Mic extends AudioWorkletProcessor {
  constructor() {
    super();
    this.step = sampleRate / RATE;
    // two one-pole low passes at 3.4 kHz: what lies above half of 8 kHz would fold back as whistling
    this.pole = 1 - Math.exp((-2 * Math.PI * 3400) / sampleRate);
    this.first = this.second = this.before = 0;
    this.at = 0;
    this.chunk = new Int16Array(CHUNK);
    this.fill = 0;
  }

  process([input]) {
    const samples = input[0];
    if (!samples) return true;
    for (const sample of samples) {
      this.first += this.pole * (sample - this.first);
      this.second += this.pole * (this.first - this.second);
      this.at += 1;
      if (this.at >= this.step) {
        this.at -= this.step;
        const part = this.at;  // how far this sample lies behind the moment wanted
        const value = this.second + (this.before - this.second) * Math.min(part, 1);
        this.chunk[this.fill++] = Math.max(-32768, Math.min(32767, Math.round(value * 32767)));
        if (this.fill === CHUNK) {
          this.port.postMessage(this.chunk.buffer, [this.chunk.buffer]);
          this.chunk = new Int16Array(CHUNK);
          this.fill = 0;
        }
      }
      this.before = this.second;
    }
    return true;
  }
}

class Ear extends AudioWorkletProcessor {
  constructor() {
    super();
    this.step = RATE / sampleRate;
    this.queue = new Float32Array(RATE);
    this.have = 0;
    this.at = 0;
    this.playing = false;
    this.port.onmessage = ({ data }) => this.take(new Int16Array(data));
  }

  take(samples) {
    if (this.have + samples.length > this.queue.length) this.have = 0;
    for (const sample of samples) this.queue[this.have++] = sample / 32768;
    if (this.have > MOST) this.drop(this.have - CUSHION);
    if (this.have >= CUSHION) this.playing = true;
  }

  drop(count) {
    const whole = Math.floor(count);
    this.queue.copyWithin(0, whole, this.have);
    this.have -= whole;
  }

  process(_inputs, [output]) {
    const out = output[0];
    for (let n = 0; n < out.length; n++) {
      const left = Math.floor(this.at);
      if (!this.playing || left + 1 >= this.have) {
        this.playing = this.playing && this.have > left + 1;
        out[n] = 0;
        continue;
      }
      const part = this.at - left;
      out[n] = this.queue[left] * (1 - part) + this.queue[left + 1] * part;
      this.at += this.step;
    }
    const done = Math.min(Math.floor(this.at), this.have);
    if (done > 0) {
      this.drop(done);
      this.at -= done;
    }
    return true;
  }
}

registerProcessor("mic", Mic);
registerProcessor("ear", Ear);
