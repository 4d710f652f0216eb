/**
 * WAV files, made in the page.
 *
 * Promises: pure; PCM s16le behind the plain 44-byte header that everything reads; a float sample outside of [-1, 1] or
 * not a number is clipped or silent, never a wrapped-around click.
 */

const HEADER_BYTES = 44;
const BYTES_PER_SAMPLE = 2;
const FULL_SCALE = 32767;
const BIGGEST_U32 = 0xffffffff; // players read to the end of the file when they see it

/**
 * @param {number} dataBytes of PCM s16le that follow
 * @param {number} sampleRate Hz
 * @param {number} [channels]
 * @returns {ArrayBuffer} 44 bytes
 */
export function wavHeader(dataBytes, sampleRate, channels = 1) {
  const header = new DataView(new ArrayBuffer(HEADER_BYTES));
  const frameBytes = channels * BYTES_PER_SAMPLE;
  writeAscii(header, 0, "RIFF");
  header.setUint32(4, Math.min(dataBytes + HEADER_BYTES - 8, BIGGEST_U32), true);
  writeAscii(header, 8, "WAVEfmt ");
  header.setUint32(16, 16, true); // bytes of the format that follows
  header.setUint16(20, 1, true); // PCM
  header.setUint16(22, channels, true);
  header.setUint32(24, sampleRate, true);
  header.setUint32(28, sampleRate * frameBytes, true);
  header.setUint16(32, frameBytes, true);
  header.setUint16(34, BYTES_PER_SAMPLE * 8, true);
  writeAscii(header, 36, "data");
  header.setUint32(40, Math.min(dataBytes, BIGGEST_U32), true);
  return header.buffer;
}

/**
 * @param {Float32Array} samples mono, in [-1, 1]
 * @returns {Int16Array}
 */
export function toInt16(samples) {
  const pcm = new Int16Array(samples.length);
  for (let at = 0; at < samples.length; at += 1) {
    pcm[at] = Math.round(Math.max(-1, Math.min(1, samples[at] || 0)) * FULL_SCALE);
  }
  return pcm;
}

/**
 * @param {Float32Array} samples mono, in [-1, 1]
 * @param {number} sampleRate Hz
 * @returns {Blob} audio/wav
 */
export function encodeWav(samples, sampleRate) {
  const pcm = new DataView(new ArrayBuffer(samples.length * BYTES_PER_SAMPLE));
  toInt16(samples).forEach((sample, at) => pcm.setInt16(at * BYTES_PER_SAMPLE, sample, true));
  return new Blob([wavHeader(pcm.byteLength, sampleRate), pcm], { type: "audio/wav" });
}

function writeAscii(view, offset, text) {
  for (let at = 0; at < text.length; at += 1) view.setUint8(offset + at, text.charCodeAt(at));
}
