/**
 * Which GPU is taken, on emulated ones (a test build; MASK_PREDICT_SIMT_DEVICES says which there are: compute
 * capability and GiB of free memory of each): by number, by UUID, or the one with the most free memory of those the
 * kernels run on. Also the message of 'auto' if there is none.
 */
import t from 'tap';
import { runScript } from './built-package.js';

const onSimt = process.env.MASK_PREDICT_DEVICE === 'simt';
const shape = { layers: 1, hidden: 64, heads: 1, feedForward: 64, vocabulary: 300 };

/** The device an engine has, or the message of the error; and what was written to the standard error. */
async function opened(devices: string, asked: string): Promise<{ device: string; stderr: string }> {
  const options = { device: asked, precision: 'fp32', threads: 1 };
  const { code, stdout, stderr } = await runScript(
    `
    const engine = await maskPredict.Engine.random(${JSON.stringify(shape)}, ${JSON.stringify(options)})
      .catch((error) => ({ device: error.code + ': ' + error.message }));
    console.log(engine.device);
    await engine.close?.();`,
    { MASK_PREDICT_SIMT_DEVICES: devices, MASK_PREDICT_DEVICE: '' },
  );
  if (code !== 0) throw new Error(stderr);
  return { device: stdout.trim(), stderr };
}

t.test('the choice', { skip: !onSimt && 'no emulated devices' }, async (t) => {
  const choices: [devices: string, asked: string, device: string | RegExp, stderr: RegExp][] = [
    ['9.0:40', 'auto', 'simt:0', /^$/],
    ['7.5:80,9.0:16,8.0:24', 'auto', 'simt:2', /^$/],
    ['7.5:80,9.0:16,8.0:24', 'simt', 'simt:2', /^$/],
    ['8.0:24,8.6:24', 'simt', 'simt:0', /^$/],
    ['8.0:24,8.6:24', 'simt:1', 'simt:1', /^$/],
    ['7.5:80,6.1:16', 'auto', 'cpu', /no GPU is used: .*capability 7\.5; 8\.0.*capability 6\.1/],
    [
      '7.5:80',
      'simt',
      /^ERR_DEVICE: device 'simt' is not available: .*7\.5; 8\.0 is needed$/,
      /^$/,
    ],
    ['7.5:80,9.0:16', 'simt:0', /^ERR_DEVICE: .*capability 7\.5; 8\.0 is needed$/, /^$/],
    ['none', 'auto', 'cpu', /no GPU is used: there is no NVIDIA GPU, or CUDA_VISIBLE_DEVICES/],
    ['', 'auto', 'cpu', /^$/],
    ['', 'simt', /^ERR_DEVICE: .*there is no NVIDIA driver$/, /^$/],
    ['9.0:8', 'simt:3', /^ERR_DEVICE: there is no device 'simt:3'; there are 0 \(GPU-d0d0/, /^$/],
    ['9.0:8,9.0:8', 'simt:GPU-d0d0d0d0-d0d0-d0d0-d0d0-d0d0d0d0d0d1', 'simt:1', /^$/],
    ['9.0:8', 'simt:gpu-D0D0', 'simt:0', /^$/],
    ['9.0:8,9.0:8', 'simt:GPU-d0d0', /^ERR_DEVICE: .*2 GPUs; give more of it$/, /^$/],
    ['9.0:8', 'simt:GPU-77', /^ERR_DEVICE: there is no device 'simt:GPU-77'; there are 0/, /^$/],
    ['9.0:8', 'simt:MIG-77', /^ERR_DEVICE: .*CUDA_VISIBLE_DEVICES=MIG-77/, /^$/],
    ['9.0:8', 'simt:first', /^ERR_INVALID_ARGUMENT: device must be .*'simt:first'$/, /^$/],
  ];
  for (const [devices, asked, device, stderr] of choices) {
    const ended = await opened(devices, asked);
    const what = `${asked} of "${devices}"`;
    if (typeof device === 'string') t.equal(ended.device, device, what);
    else t.match(ended.device, device, what);
    t.match(ended.stderr, stderr, `${what}: the standard error`);
  }
});
