/**
 * Whether a recording is good enough to make a voice of it.
 *
 * Promises: the measuring is pure; samples are floats in [-1, 1], mono. It warns; to refuse is the server's part.
 */

const AUDIBLE_DB = -50; // of the peak: below it even a quiet room hides the sound
const QUIET_DB = -38; // of speech: a server that makes this louder makes the room's noise louder as well
const FULL_SCALE = 0.995;
const CLIPPED_SHARE = 0.0005; // of all samples: a few are no harm
const BLOCK_S = 0.05;
const SPEECH_WITHIN_DB = 20; // of the loudest block: what is softer is a pause
const CUT_WITHIN_S = 3; // where a long recording may be cut: in the quietest moment of its last seconds
const DECODED_HZ = 48000;

/**
 * @param {Float32Array} samples
 * @param {number} sampleRate Hz
 * @returns {{durationS: number, peakDb: number, levelDb: number, verdict: "silent"|"quiet"|"clipped"|"good"}} `levelDb`
 *   is that of the speech without its pauses, dBFS
 */
export function checkSound(samples, sampleRate) {
  const peakDb = decibels(peakOf(samples, 0, samples.length));
  const levelDb = speechLevel(blockPowers(samples, sampleRate));
  const verdict = judge(peakDb, levelDb, clippedShare(samples));
  return { durationS: samples.length / sampleRate, peakDb, levelDb, verdict };
}

/** The largest magnitude of each of `columns` equal parts. @returns {Float32Array} */
export function outline(samples, columns) {
  const width = samples.length / columns;
  return Float32Array.from({ length: columns }, (_, at) => peakOf(samples, Math.floor(at * width), (at + 1) * width));
}

/** The beginning of a recording, at most `mostS` seconds, cut where nobody speaks. @returns {Float32Array} */
export function beginning(samples, sampleRate, mostS) {
  const block = Math.round(BLOCK_S * sampleRate);
  const last = Math.floor((mostS * sampleRate) / block) - 1;
  const powers = blockPowers(samples.subarray(0, (last + 1) * block), sampleRate);
  let quietest = last;
  for (let at = last; at > last - CUT_WITHIN_S / BLOCK_S; at -= 1) if (powers[at] < powers[quietest]) quietest = at;
  return samples.slice(0, (quietest + 1) * block);
}

/** A file's sound, mono at 48 kHz; rejects where the browser cannot read it. @param {Blob} blob */
export async function decode(blob) {
  const context = new OfflineAudioContext(1, 1, DECODED_HZ);
  const sound = await context.decodeAudioData(await blob.arrayBuffer());
  const mono = new Float32Array(sound.length);
  for (let channel = 0; channel < sound.numberOfChannels; channel += 1) {
    sound.getChannelData(channel).forEach((sample, at) => (mono[at] += sample / sound.numberOfChannels));
  }
  return { samples: mono, sampleRate: DECODED_HZ };
}

/** Seconds, as its header has them: a small file may be hours. 0 where the browser cannot tell. @param {string} url */
export function lengthOf(url) {
  return new Promise((resolve) => {
    const audio = new Audio();
    audio.preload = "metadata";
    audio.onloadedmetadata = () => resolve(Number.isFinite(audio.duration) ? audio.duration : 0);
    audio.onerror = () => resolve(0);
    audio.src = url;
  });
}

/** @param {number} amplitude in [0, 1] @returns {number} dBFS, at least -100 */
export function decibels(amplitude) {
  return 20 * Math.log10(Math.max(amplitude, 1e-5));
}

function peakOf(samples, begin, end) {
  let peak = 0;
  for (let at = begin; at < end && at < samples.length; at += 1) peak = Math.max(peak, Math.abs(samples[at]));
  return peak;
}

function blockPowers(samples, sampleRate) {
  const block = Math.round(BLOCK_S * sampleRate);
  return Array.from({ length: Math.ceil(samples.length / block) }, (_, number) => {
    const part = samples.subarray(number * block, (number + 1) * block);
    return part.reduce((sum, sample) => sum + sample * sample, 0) / part.length;
  });
}

function speechLevel(powers) {
  const loudest = Math.max(0, ...powers);
  const speech = powers.filter((power) => power > 0 && power >= loudest * 10 ** (-SPEECH_WITHIN_DB / 10));
  return decibels(Math.sqrt(speech.reduce((sum, power) => sum + power, 0) / (speech.length || 1)));
}

function clippedShare(samples) {
  let clipped = 0;
  for (const sample of samples) if (Math.abs(sample) >= FULL_SCALE) clipped += 1;
  return clipped / (samples.length || 1);
}

function judge(peakDb, levelDb, clipped) {
  if (peakDb < AUDIBLE_DB) return "silent";
  if (clipped > CLIPPED_SHARE) return "clipped";
  return levelDb < QUIET_DB ? "quiet" : "good";
}
