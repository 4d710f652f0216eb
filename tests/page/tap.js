// Before anything of the page runs: whatever is connected to the loudspeakers also feeds a recorder.
// `window.audioTaps` has one entry for each AudioContext that played, the newest last.
"use strict";
(() => {
  const RECORDER = URL.createObjectURL(new Blob([window.tapRecorder], { type: "text/javascript" }));
  const { connect } = AudioNode.prototype;
  const { addModule } = AudioWorklet.prototype;
  window.audioTaps = [];

  AudioWorklet.prototype.addModule = async function (...args) {
    await addModule.call(this, RECORDER); // so that it is there when the page connects its first node
    return addModule.apply(this, args);
  };

  AudioNode.prototype.connect = function (target, ...rest) {
    if (target instanceof AudioDestinationNode) connect.call(this, recorderOf(target).node);
    return connect.call(this, target, ...rest);
  };

  function recorderOf(destination) {
    const known = window.audioTaps.find((tap) => tap.context === destination.context);
    if (known) return known;
    const node = new AudioWorkletNode(destination.context, "recorder-of-the-tests", { outputChannelCount: [1] });
    const tap = { context: destination.context, node, blocks: [], firstFrame: null, flushed: null };
    node.port.onmessage = ({ data }) => {
      if (data.block.length) tap.blocks.push(data.block);
      tap.firstFrame ??= data.frame;
      if (data.flushed) tap.flushed?.();
    };
    connect.call(node, destination); // it is silent, but only what leads to a destination is rendered
    window.audioTaps.push(tap);
    return tap;
  }

  /** @returns {Promise<string>} base64 of everything that left the graph of this context so far, as PCM s16le */
  window.readAudioTap = async (index) => {
    const tap = window.audioTaps.at(index);
    if (tap.context.state === "running") await flush(tap);
    const bytes = new Uint8Array(Int16Array.from(tap.blocks.flatMap((block) => Array.from(block, toInt16))).buffer);
    let binary = "";
    for (let at = 0; at < bytes.length; at += 0x8000) binary += String.fromCharCode(...bytes.subarray(at, at + 0x8000));
    return btoa(binary);
  };

  const flush = (tap) =>
    new Promise((resolve) => {
      tap.flushed = resolve;
      tap.node.port.postMessage("flush");
    });
  const toInt16 = (sample) => Math.max(-32768, Math.min(32767, Math.round(sample * 32768)));
})();
