// Sound in the browser: a microphone, and WAV files, which every server can read.

// Mono samples from -1 to 1 as a WAV file of 16 bits.
export function wav(blocks, rate) {
  const count = blocks.reduce((sum, block) => sum + block.length, 0);
  const view = new DataView(new ArrayBuffer(44 + 2 * count));
  const text = (at, letters) => [...letters].forEach((c, i) => view.setUint8(at + i, c.charCodeAt(0)));
  text(0, "RIFF");
  view.setUint32(4, 36 + 2 * count, true);
  text(8, "WAVEfmt ");
  view.setUint32(16, 16, true);
  view.setUint16(20, 1, true); // PCM
  view.setUint16(22, 1, true); // channels
  view.setUint32(24, rate, true);
  view.setUint32(28, 2 * rate, true);
  view.setUint16(32, 2, true);
  view.setUint16(34, 16, true);
  text(36, "data");
  view.setUint32(40, 2 * count, true);
  let at = 44;
  for (const block of blocks) {
    for (const sample of pcm(block)) {
      view.setInt16(at, sample, true);
      at += 2;
    }
  }
  return new Blob([view], { type: "audio/wav" });
}

// Samples as whole numbers of 16 bits.
export function pcm(block) {
  return Int16Array.from(block, (sample) => Math.round(Math.max(-1, Math.min(1, sample)) * 32767));
}

// A file that the browser can decode, and the server perhaps not, as WAV.
export async function decoded(file, rate) {
  const context = new OfflineAudioContext(1, 1, rate);
  const sound = await context.decodeAudioData(await file.arrayBuffer());
  const channels = Array.from({ length: sound.numberOfChannels }, (_, i) => sound.getChannelData(i));
  const mean = channels[0].map((_, i) => channels.reduce((sum, c) => sum + c[i], 0) / channels.length);
  return wav([mean], sound.sampleRate);
}

// A microphone that is open: hear(block, level) gets its samples, stop() gives the recording.
export async function microphone(rate, hear) {
  if (!navigator.mediaDevices) {
    throw new Error("Browsers record on secure pages only: https, or this machine's own address");
  }
  const sound = { channelCount: 1, echoCancellation: false, noiseSuppression: false, autoGainControl: false };
  const media = await navigator.mediaDevices.getUserMedia({ audio: sound });
  let context = new AudioContext({ sampleRate: rate });
  let source;
  try {
    source = context.createMediaStreamSource(media);
  } catch { // some browsers do not resample a microphone
    await context.close();
    context = new AudioContext();
    source = context.createMediaStreamSource(media);
  }
  await context.audioWorklet.addModule("capture.js");
  const capture = new AudioWorkletNode(context, "capture", { numberOfOutputs: 0 });
  const blocks = [];
  capture.port.onmessage = ({ data }) => {
    blocks.push(data);
    hear(data, Math.sqrt(data.reduce((sum, sample) => sum + sample * sample, 0) / data.length));
  };
  source.connect(capture);
  return {
    rate: context.sampleRate,
    async stop() {
      source.disconnect();
      media.getTracks().forEach((track) => track.stop());
      await context.close();
      return wav(blocks, context.sampleRate);
    },
  };
}
