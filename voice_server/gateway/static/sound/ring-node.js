/**
 * Puts the ring of worklets/ring.js before the loudspeakers of an AudioContext.
 *
 * Promises: on the audio thread wherever the browser has one for this page. It has none for pages over plain http from
 * another machine: there the ring runs on the page's own thread, with the same messages, and a busy page may stutter.
 */

const MODULE = new URL("./worklets/ring.js", import.meta.url);
const BLOCK_FRAMES = 1024; // 43 ms at 24 kHz that a page may be busy for; more would make a stop late

/**
 * @param {AudioContext} context
 * @param {number} frames that the ring holds
 * @param {(report: object) => void} take is given what the ring tells
 * @returns {Promise<(message: object, transfer: Transferable[]) => void>} tells the ring something
 */
export function ringOf(context, frames, take) {
  return context.audioWorklet ? onAudioThread(context, frames, take) : onThisThread(context, frames, take);
}

async function onAudioThread(context, frames, take) {
  await context.audioWorklet.addModule(MODULE);
  const shape = { numberOfInputs: 0, outputChannelCount: [1], processorOptions: { frames } };
  const node = new AudioWorkletNode(context, "ring", shape);
  node.port.onmessage = ({ data }) => take(data);
  node.connect(context.destination);
  return (message, transfer) => node.port.postMessage(message, transfer);
}

async function onThisThread(context, frames, take) {
  const { Ring } = await import(MODULE);
  const ring = new Ring(frames, context.sampleRate, take);
  const node = context.createScriptProcessor(BLOCK_FRAMES, 0, 1);
  node.onaudioprocess = ({ outputBuffer, playbackTime }) => {
    ring.render(outputBuffer.getChannelData(0), Math.round(playbackTime * context.sampleRate));
  };
  node.connect(context.destination);
  return (message) => ring[message.type](message);
}
