// What JavaScript clients of the VoxCPM TTS server do: one socket a text, and a view of each frame's audio in place,
// which throws where the audio does not begin at an even byte.
// usage: node voxcpm_client.mjs URL PARAMS → one line of JSON

function parseFrame(buffer) {
  const view = new DataView(buffer);
  const size = view.getUint32(4);
  const metadata = JSON.parse(new TextDecoder().decode(new Uint8Array(buffer, 8, size)));
  const samples = new Int16Array(buffer, 12 + size, view.getUint32(8 + size) / 2);
  return { type: view.getUint8(2), metadata, samples };
}

function speak(url, params) {
  const socket = new WebSocket(url);
  const heard = { frames: [], states: [], pcm: [] };
  socket.binaryType = 'arraybuffer';
  return new Promise((resolve, reject) => {
    socket.onopen = () => {
      socket.send(JSON.stringify({ type: 'tts_request', request_id: crypto.randomUUID(), params }));
    };
    socket.onmessage = ({ data }) => {
      if (data instanceof ArrayBuffer) {
        const { type, metadata, samples } = parseFrame(data);
        heard.frames.push({ type, ...metadata });
        heard.pcm.push(...samples);
        return;
      }
      const message = JSON.parse(data);
      if (message.type === 'progress') heard.states.push(message.state);
      if (message.type === 'error') reject(new Error(message.error.message));
      if (message.type === 'complete') resolve({ ...heard, result: message.result });
    };
    socket.onerror = () => reject(new Error('the socket failed'));
  }).finally(() => socket.close());
}

try {
  const heard = await speak(process.argv[2], JSON.parse(process.argv[3]));
  console.log(JSON.stringify(heard));
} catch (error) {
  console.log(JSON.stringify({ error: error.message }));
}
