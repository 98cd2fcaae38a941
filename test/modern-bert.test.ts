/**
 * ModernBERT on the CPU: the states and probabilities of an independent implementation, sources with targets, and a
 * reference that finds each of the architecture's rules broken; the same bits in any batch and on any number of
 * threads; both styles of config.json, names with and without prefix; what it refuses.
 */
import { copyFileSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import t, { type Test } from 'tap';
import { Engine } from '../lib/token/engine.js';
import { Trainer } from '../lib/training/trainer.js';
import { closeness, sameBits } from './reference/closeness.js';
import { readFillCases } from './reference/fixtures.js';
import { brokenRules, ModernBertReference } from './reference/modern-bert.js';
import { Tensors } from './reference/safetensors.js';
import { readTensors, safetensorsOf, type Tensors as StoredTensors } from './safetensors-writer.js';

const name = 'tiny-modernbert';
const directory = fileURLToPath(new URL(`fixtures/${name}`, import.meta.url));
const onDevice = Boolean(process.env.MASK_PREDICT_DEVICE);
const [cls, sep, pad, mask] = [486, 487, 488, 489];
/** What float32 may be off, by the specification of the fixtures. */
const bound = 1e-4;
const options = { device: 'cpu', threads: 2 } as const;

const withoutPadding = (row: Int32Array) => row.slice(0, row.findLastIndex((id) => id !== pad) + 1);

/** Sequence `i` of `[cases, rows, width]`, its first rows. */
function cut(file: Tensors, tensor: string, i: number, rows: number): Float64Array {
  const { shape, values } = file.get(tensor);
  const start = i * shape[1]! * shape[2]!;
  return values.slice(start, start + rows * shape[2]!);
}

const fill = Tensors.file(join(directory, 'fill.safetensors'));
const fillIds = readFillCases(name, mask, pad).map(({ ids }) => ids);
const pair = Tensors.file(join(directory, 'pair.safetensors'));
const idsOf = (tensor: string) => {
  const { shape, values } = pair.integers(tensor);
  return Array.from({ length: shape[0]! }, (_, i) =>
    withoutPadding(values.slice(i * shape[1]!, (i + 1) * shape[1]!)),
  );
};
const sourceIds = idsOf('source_ids');
const targetIds = idsOf('target_ids');

function near(
  t: Test,
  actual: ArrayLike<number>,
  expected: ArrayLike<number>,
  what: string,
  limit = bound,
) {
  const { worst, where } = closeness(actual, expected, limit);
  t.ok(worst <= 1, `${what}: ${worst.toFixed(3)} of the bound, ${where}`);
}

t.test('states, log-probabilities and logits', { skip: onDevice }, async (t) => {
  const engine = await Engine.load(directory, options);
  t.match(engine.config, { modelType: 'modernbert', maskTokenId: mask, vocabulary: 512 });
  const sources = await engine.encode(fillIds);
  sources.forEach((source, i) => {
    near(t, source.states(), cut(fill, 'states', i, fillIds[i]!.length), `states ${i}`);
  });
  const filled = await engine.fillMask(fillIds, { count: 5 });
  readFillCases(name, mask, pad).forEach(({ best }, i) => {
    t.equal(filled[i]!.length, best.length, `masks ${i}`);
    best.forEach(({ ids, logProbs }, at) => {
      t.same([...filled[i]![at]!.ids], [...ids], `ids ${i}, ${at}`);
      near(t, filled[i]![at]!.logProbs, logProbs, `log-probabilities ${i}, ${at}`);
    });
  });
  const logits = await engine.logits(fillIds);
  const masked = fill.get('mask_logits').values;
  let row = 0;
  fillIds.forEach((ids, i) =>
    ids.forEach((id, at) => {
      if (id !== mask) return;
      const expected = masked.slice(row * 512, ++row * 512);
      near(t, logits[i]!.subarray(at * 512, (at + 1) * 512), expected, `logits ${i}, ${at}`);
    }),
  );
  const embeddings = await engine.embed(fillIds);
  fillIds.forEach((ids, i) => {
    const states = cut(fill, 'states', i, ids.length);
    const mean = new Float64Array(128).map((_, c) => {
      let sum = 0;
      for (let r = 0; r < ids.length; r++) sum += states[r * 128 + c]!;
      return sum / ids.length;
    });
    near(t, embeddings[i]!, mean, `embedding ${i}`);
  });
  await engine.close();
});

t.test('a source and its targets', { skip: onDevice }, async (t) => {
  const engine = await Engine.load(directory, options);
  const sources = await engine.encode(sourceIds);
  const targets = sources.map((source, i) => source.target(targetIds[i]!));
  const [states, logits] = [await engine.states(targets), await engine.logits(targets)];
  sources.forEach((source, i) => {
    near(t, source.states(), cut(pair, 'source_states', i, source.length), `source ${i}`);
    near(t, states[i]!, cut(pair, 'target_states', i, targetIds[i]!.length), `target ${i}`);
    near(t, logits[i]!, cut(pair, 'target_logits', i, targetIds[i]!.length), `logits ${i}`);
  });
  // A single sequence is not seen by its own end: only the source is.
  await engine.predict(targets);
  targets.forEach(({ tokens, scores }, i) => {
    const expected = cut(pair, 'target_logits', i, targetIds[i]!.length);
    targetIds[i]!.forEach((id, at) => {
      if (id !== mask) return t.equal(tokens[at], id, `given ${i}, ${at}`);
      const row = expected.subarray(at * 512, (at + 1) * 512);
      const allowed = Float64Array.from(row, (x, id) =>
        [cls, sep, pad, mask].includes(id) ? -Infinity : x,
      );
      const best = allowed.indexOf(Math.max(...allowed));
      const sum = row.reduce((sum, x) => sum + Math.exp(x), 0);
      t.equal(tokens[at], best, `filled in ${i}, ${at}`);
      near(t, [scores[at]!], [row[best]! - Math.log(sum)], `score ${i}, ${at}`);
    });
  });
  const decoded = sources.map((source) => source.target(9));
  t.same(await engine.decode(decoded, 4), [4, 4, 4, 4, 4]);
  for (const { tokens } of decoded) {
    t.same([tokens[0], tokens.at(-1)], [cls, sep]);
    t.notOk([...tokens.subarray(1, -1)].some((id) => [cls, sep, pad, mask].includes(id)));
  }
  await engine.close();
});

t.test('the reference has the same states, and finds every broken rule', async (t) => {
  const states = (rule?: (typeof brokenRules)[number]) => {
    const reference = new ModernBertReference(directory, rule);
    return sourceIds.slice(0, 3).map((source, i) => {
      const both = [...source, ...targetIds[i]!];
      return reference.states(both, source.length).slice(source.length * 128);
    });
  };
  const expected = sourceIds
    .slice(0, 3)
    .map((_, i) => cut(pair, 'target_states', i, targetIds[i]!.length));
  states().forEach((values, i) => near(t, values, expected[i]!, `target ${i}`));
  for (const rule of brokenRules) {
    const worst = states(rule).map((values, i) => closeness(values, expected[i]!, bound).worst);
    t.ok(Math.max(...worst) > 100, `${rule}: ${Math.max(...worst).toFixed(0)} of the bound`);
  }
});

t.test('the same bits in any batch', { skip: onDevice }, async (t) => {
  const long = Int32Array.from({ length: 700 }, (_, i) =>
    i === 0 ? cls! : i === 699 ? sep! : i % 9 === 4 ? mask! : 2 + ((i * 7919) % 400),
  );
  const all = [...fillIds, long];
  for (const precision of ['fp32', 'bf16', 'int8'] as const) {
    const engine = await Engine.load(directory, { ...options, precision });
    const single = await Engine.load(directory, { ...options, threads: 1, precision });
    const states = async (engine: Engine, ids: Int32Array[]) =>
      (await engine.encode(ids)).map((source) => source.states());
    const together = await states(engine, all);
    const best = await engine.fillMask(all);
    for (const [i, ids] of all.entries()) {
      t.ok(sameBits((await states(engine, [ids]))[0]!, together[i]!), `${precision} ${i} alone`);
      t.ok(
        sameBits((await states(single, [ids]))[0]!, together[i]!),
        `${precision} ${i}, 1 thread`,
      );
      const [alone] = await engine.fillMask([ids]);
      t.ok(
        alone!.every(({ logProbs }, at) => sameBits(logProbs, best[i]![at]!.logProbs)),
        `${precision} ${i}: only the masked rows`,
      );
      // The last layer computes the same for masked rows alone as for all rows.
      const one = ids.map((id, at) => (id === mask && at !== ids.indexOf(mask!) ? 7 : id));
      const [[few], [many]] = [(await engine.fillMask([one]))[0]!, await engine.logits([one])];
      if (!few) continue;
      const row = many!.subarray(few.position * 512, (few.position + 1) * 512);
      const largest = Math.max(...row);
      const sum = row.reduce((sum, x) => sum + Math.exp(x - largest), 0);
      near(
        t,
        few.logProbs,
        [...few.ids].map((id) => row[id]! - largest - Math.log(sum)),
        'logits',
        1e-5,
      );
    }
    const sources = await engine.encode(sourceIds, { states: false });
    const decode = async (engine: Engine, some: typeof sources) => {
      const targets = some.map((source) => source.target(12));
      await engine.decode(targets, 5);
      return targets.map(({ tokens, scores }) => [tokens, scores] as const);
    };
    const batch = await decode(engine, sources);
    for (const [i, source] of sources.entries()) {
      const [[tokens, scores]] = (await decode(engine, [source])) as [[Int32Array, Float32Array]];
      t.ok(sameBits(tokens, batch[i]![0]) && sameBits(scores, batch[i]![1]), `${precision} ${i}`);
    }
    await Promise.all([engine.close(), single.close()]);
  }
});

/** A directory with the fixture's files, config.json and tensors changed. */
function changed(
  t: Test,
  config: (fields: Record<string, unknown>) => void,
  tensors?: (all: StoredTensors) => StoredTensors,
): string {
  const path = t.testdir({});
  const fields = JSON.parse(readFileSync(join(directory, 'config.json'), 'utf8')) as Record<
    string,
    unknown
  >;
  config(fields);
  writeFileSync(join(path, 'config.json'), JSON.stringify(fields));
  for (const file of ['tokenizer.json', 'tokenizer_config.json'])
    copyFileSync(join(directory, file), join(path, file));
  const weights = readFileSync(join(directory, 'model.safetensors'));
  writeFileSync(
    join(path, 'model.safetensors'),
    safetensorsOf((tensors ?? ((all) => all))(readTensors(weights))),
  );
  return path;
}

const renamed = (name: (old: string) => string | undefined) => (all: StoredTensors) =>
  new Map(
    [...all].flatMap(([old, tensor]) => {
      const now = name(old);
      return now === undefined ? [] : [[now, tensor] as const];
    }),
  );

t.test('styles of config.json and of names', { skip: onDevice }, async (t) => {
  const states = async (path: string) => {
    const engine = await Engine.load(path, options);
    const all = (await engine.encode(fillIds)).map((source) => source.states());
    const { head, maskTokenId, tieWordEmbeddings } = engine.config;
    await engine.close();
    return { all, head, maskTokenId, tieWordEmbeddings };
  };
  const expected = await states(directory);
  const same = async (t: Test, what: string, path: string, facts: object = {}) => {
    const { all, ...found } = await states(path);
    t.ok(
      all.every((values, i) => sameBits(values, expected.all[i]!)),
      what,
    );
    t.match(found, { head: true, maskTokenId: mask, tieWordEmbeddings: true, ...facts }, what);
  };

  await t.test('no mask in config.json', async (t) => {
    const path = changed(t, (fields) => delete fields['mask_token_id']);
    await same(t, 'from tokenizer.json', path);
  });
  await t.test('transformers 5', async (t) => {
    const path = changed(t, (fields) => {
      for (const old of ['global_attn_every_n_layers', 'global_rope_theta', 'local_rope_theta'])
        delete fields[old];
      fields['layer_types'] = ['full', 'sliding', 'sliding', 'full'].map((x) => `${x}_attention`);
      fields['rope_parameters'] = {
        full_attention: { rope_type: 'default', rope_theta: 160000 },
        sliding_attention: { rope_type: 'default', rope_theta: 10000.0 },
      };
    });
    await same(t, 'layer_types and rope_parameters', path);
  });
  await t.test('the newer fields count', async (t) => {
    const path = changed(t, (fields) => {
      fields['layer_types'] = Array<string>(4).fill('full_attention');
    });
    const { all } = await states(path);
    t.notOk(sameBits(all[0]!, expected.all[0]!));
  });
  await t.test('the encoder alone', async (t) => {
    const encoder = renamed((old) => (old.startsWith('model.') ? old.slice(6) : undefined));
    await same(
      t,
      'no prefix and no head',
      changed(t, () => {}, encoder),
      { head: false },
    );
    const prefixed = renamed((old) => (old.startsWith('model.') ? old : undefined));
    await same(
      t,
      'no head',
      changed(t, () => {}, prefixed),
      { head: false },
    );
  });
  await t.test('the matrix of the head', async (t) => {
    const words = 'model.embeddings.tok_embeddings.weight';
    const twice = changed(
      t,
      () => {},
      (all) => new Map([...all, ['decoder.weight', all.get(words)!]]),
    );
    await same(t, 'repeated', twice);
    const instead = renamed((old) => (old === words ? 'decoder.weight' : old));
    await same(
      t,
      'under its other name',
      changed(t, () => {}, instead),
    );
    const own = changed(
      t,
      (fields) => (fields['tie_word_embeddings'] = false),
      (all) => {
        const { dtype, shape, bytes } = all.get(words)!;
        const other = { dtype, shape, bytes: new Uint8Array(bytes).reverse() };
        return new Map([...all, ['decoder.weight', other]]);
      },
    );
    await same(t, 'of its own', own, { tieWordEmbeddings: false });
  });
});

t.test('refusals', { skip: onDevice }, async (t) => {
  const refused = async (t: Test, path: string, message: RegExp, code = 'ERR_MODEL_FORMAT') => {
    await t.rejects(Engine.load(path, options), { code, message });
  };
  const fields: [string, unknown, RegExp][] = [
    ['hidden_activation', 'silu', /hidden_activation is "silu", must be "gelu"/],
    ['norm_bias', true, /norm_bias is true/],
    ['decoder_bias', false, /decoder_bias is false/],
    ['rope_scaling', { type: 'yarn' }, /rope_scaling is an object/],
    ['rope_parameters', { full_attention: { rope_type: 'yarn' } }, /rope_type .* is "yarn"/],
    ['layer_types', ['full_attention'], /layer_types .* each of the 4 layers/],
    ['layer_types', ['a', 'b', 'c', 'd'], /layer_types is "a"/],
    ['num_attention_heads', 128, /heads are of an even size/],
    ['cls_token_id', 512, /cls_token_id is 512/],
    ['local_rope_theta', -1, /local_rope_theta is -1/],
  ];
  for (const [name, value, message] of fields)
    await t.test(`${name}`, async (t) => {
      await refused(
        t,
        changed(t, (config) => (config[name] = value)),
        message,
      );
    });
  await t.test('no mask anywhere', async (t) => {
    const path = changed(t, (config) => delete config['mask_token_id']);
    writeFileSync(join(path, 'tokenizer.json'), '{}');
    await refused(t, path, /no mask_token_id; name it in the option maskTokenId/);
    const engine = await Engine.load(path, { ...options, maskTokenId: mask! });
    t.equal(engine.maskTokenId, mask);
    await engine.close();
  });
  await t.test('a tensor that is not there', async (t) => {
    const without = renamed((old) => (old === 'model.layers.1.attn_norm.weight' ? undefined : old));
    await refused(
      t,
      changed(t, () => {}, without),
      /no tensor .*attn_norm.* checkpoint of ModernBERT/,
    );
  });
  await t.test('source and target together', async (t) => {
    const path = changed(t, (config) => (config['max_position_embeddings'] = 40));
    const engine = await Engine.load(path, options);
    const [source] = await engine.encode([sourceIds.find(({ length }) => length === 30)!]);
    const message =
      /3 to 10 ids, \[CLS\] and \[SEP\] included \(those of its source count as well\)/;
    t.throws(() => source!.target(11), { message });
    t.equal(source!.target(10).length, 10);
    await engine.close();
  });
  await t.test('the trainer', async (t) => {
    await t.rejects(Trainer.load(directory), {
      code: 'ERR_INVALID_ARGUMENT',
      message: /ModernBERT cannot be trained here/,
    });
  });
  const engine = await Engine.load(directory, options);
  const wrong = async (ids: number[], message: RegExp) => {
    await t.rejects(engine.encode([Int32Array.from(ids)]), { message });
  };
  await wrong([0, 5, 2], /must begin with \[CLS\] \(id 486\) and end with \[SEP\] \(id 487\)/);
  await wrong([cls!, pad!, sep!], /has id 488 .* 0 to 511 without 488/);
  await wrong([cls!, 512, sep!], /has id 512/);
  await t.rejects(Engine.load(directory, { ...options, vocabulary: { allowedIds: [5, sep!] } }), {
    message: /contain 487; ids that can be answered are 0 to 511 without 486 487 488 489/,
  });
  await engine.close();
});

t.test('a vocabulary', { skip: onDevice }, async (t) => {
  const allowedIds = [0, 7, 100, 490, 511];
  const engine = await Engine.load(directory, { ...options, vocabulary: { allowedIds } });
  const full = await Engine.load(directory, options);
  const [filled, logits] = [await engine.fillMask(fillIds), await full.logits(fillIds)];
  filled.forEach((masks, i) =>
    masks.forEach(({ position, ids, logProbs }) => {
      const row = logits[i]!.subarray(position * 512, (position + 1) * 512);
      const of = (ids: number[]) => ids.map((id) => row[id]!);
      const sum = of([...allowedIds, cls!, sep!, pad!, mask!]).reduce(
        (sum, x) => sum + Math.exp(x),
        0,
      );
      const best = [...allowedIds].sort((a, b) => row[b]! - row[a]!);
      t.same([...ids], best);
      near(
        t,
        logProbs,
        of(best).map((x) => x - Math.log(sum)),
        `mask ${i}, ${position}`,
        1e-5,
      );
    }),
  );
  await Promise.all([engine.close(), full.close()]);
});

t.test('not on a GPU', { skip: !onDevice }, async (t) => {
  for (const device of ['auto', process.env.MASK_PREDICT_DEVICE!] as const)
    await t.rejects(Engine.load(directory, { device: device as 'auto' }), {
      code: 'ERR_DEVICE',
      message: /ModernBERT run on the CPU so far, not on device .*; use 'cpu' or 'auto'/,
    });
  const engine = await Engine.load(directory, options);
  t.equal(engine.device, 'cpu');
  await engine.close();
});
