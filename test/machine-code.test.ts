/**
 * The reader of machine code (test/simt/machine_code.cjs), which `npm run bench -- cuda-report` runs over the kernels.
 *
 * Small kernels in PTX, of which it is known what their machine code has to hold, are compiled and read; others break a rule
 * and are found. What a compiler would have to be talked into is a list of instructions made here.
 */
import { spawnSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import t, { type Test } from 'tap';

interface Instruction {
  at: number;
  name?: string;
  predicate: number;
  isGuarded: boolean;
  stall: number;
  sets?: number;
  frees?: number;
  waits: number;
  pending?: number;
  target?: number;
}
interface Kernel {
  name: string;
  architecture: number;
  instructions: Instruction[];
  exits: number[];
  branches: Map<number, number[]>;
  threads?: number;
}
const { examine, kernelsOf } = createRequire(import.meta.url)('./simt/machine_code.cjs') as {
  examine(kernel: Kernel): { faults: string[]; weights: string; multiplies: boolean };
  kernelsOf(cubin: Buffer): Kernel[];
};

const nvcc = process.env.NVCC ?? 'nvcc';
const skip = spawnSync(nvcc, ['--version']).status !== 0 && 'no nvcc';

const registers = `
  .reg .b64 %at, %policy, %d<8>;
  .reg .b32 %s, %n, %i, %a<8>, %b<40>;
  .reg .f32 %f<8>;
  .reg .pred %p, %q;
  .shared .align 16 .b8 memory[4096];
  ld.param.u64 %at, [pointer];
  ld.param.u32 %n, [count];
  cvta.to.global.u64 %at, %at;
  createpolicy.fractional.L2::evict_first.b64 %policy, 1.0;
  mov.u32 %s, memory;`;

/** Kernels by name, compiled from the statements of each. */
function compile(t: Test, architecture: number, bodies: Record<string, string>, directives = '') {
  const folder = t.testdir();
  const kernels = Object.entries(bodies).map(
    ([name, body]) =>
      `.visible .entry ${name}(.param .u64 pointer, .param .u32 count) ${directives} {${registers}\n${body}\n  ret;\n}\n`,
  );
  const [ptx, cubin] = [join(folder, 'probe.ptx'), join(folder, 'probe.cubin')];
  writeFileSync(
    ptx,
    `.version 7.8\n.target sm_${architecture}\n.address_size 64\n${kernels.join('')}`,
  );
  const { status, stderr } = spawnSync(
    nvcc,
    ['-cubin', `-arch=sm_${architecture}`, ptx, '-o', cubin],
    { encoding: 'utf8' },
  );
  if (status !== 0) throw new Error(stderr);
  return new Map(kernelsOf(readFileSync(cubin)).map((kernel) => [kernel.name, kernel]));
}

const named = ({ instructions }: Kernel, name: string) =>
  instructions.filter((instruction) => instruction.name === name);

const policyLoad = (registers: string, offset: number) =>
  `ld.global.L1::no_allocate.L2::cache_hint.v4.u32 {${registers}}, [%at+${offset}], %policy;`;
const policyCopy = (offset: number) =>
  `cp.async.cg.shared.global.L2::cache_hint [%s+${offset}], [%at+${offset}], 16, %policy;`;
const plainCopy = (offset: number) =>
  `cp.async.cg.shared.global [%s+${offset}], [%at+${offset}], 16;`;

t.test('threads of a block that launch bounds allow', { skip }, (t) => {
  const body = { kernel: 'st.global.u32 [%at], %n;' };
  for (const architecture of [80, 90]) {
    const threads = (directives?: string) =>
      compile(t, architecture, body, directives).get('kernel')!.threads;
    t.equal(threads('.maxntid 96, 1, 1 .minnctapersm 2'), 96, `sm_${architecture}`);
    t.equal(threads('.maxntid 16, 4, 2'), 128, `sm_${architecture}: in three dimensions`);
    t.equal(threads(), undefined, `sm_${architecture}: none`);
  }
  t.end();
});

t.test('instructions are what the statements ask for', { skip }, (t) => {
  for (const architecture of [80, 90]) {
    const kernels = compile(t, architecture, {
      memory: `
        ld.volatile.global.u32 %b0, [%at];
        ld.volatile.global.u32 %b1, [%at+4];
        ld.volatile.shared.u32 %b2, [memory+64];
        st.volatile.shared.u32 [memory+68], %b0;
        st.volatile.global.u32 [%at+8], %b1;
        st.volatile.global.u32 [%at+12], %b2;
        st.volatile.global.u32 [%at+16], %b0;
        atom.global.cas.b32 %b3, [%at+20], %b0, %b1;
        st.volatile.global.u32 [%at+24], %b3;`,
      copies: `
        ${plainCopy(0)} ${policyCopy(16)} ${plainCopy(32)}
        cp.async.commit_group;
        cp.async.wait_group 5;
        cp.async.wait_group 2;
        cp.async.wait_group 0;`,
      guarded: `
        setp.eq.u32 %p, %n, 7;
        @%p bra DONE;
        st.volatile.global.u32 [%at], %n;
        bar.sync 0;
        DONE:`,
    });
    const count = (kernel: string, name: string) => named(kernels.get(kernel)!, name).length;
    t.same(
      ['LDG', 'LDS', 'STS', 'STG', 'ATOMG'].map((name) => count('memory', name)),
      [2, 1, 1, 4, 1],
      `sm_${architecture}: memory`,
    );
    t.equal(count('copies', 'LDGSTS'), 3, `sm_${architecture}: copies`);
    const waits = named(kernels.get('copies')!, 'DEPBAR').map(({ pending }) => pending);
    t.same(waits, [5, 2, 0], `sm_${architecture}: groups that may be under way`);
    t.equal(count('copies', 'LDGDEPBAR') >= 1, true);

    for (const kernel of kernels.values()) {
      const ends = named(kernel, 'EXIT').map(({ at }) => at);
      const sorted = [...kernel.exits].sort((a, b) => a - b);
      t.same(ends, sorted, `sm_${architecture}, ${kernel.name}: where the compiler says it ends`);
      // Behind the end lies a branch to itself.
      const last = named(kernel, 'BRA').at(-1)!;
      t.equal(last.target, last.at, `sm_${architecture}, ${kernel.name}: a branch to itself`);
      t.ok(kernel.instructions.every(({ stall }) => stall <= 15));
    }
    // A load's result is waited for through the scoreboard it sets, by the store that is given it.
    const [first] = named(kernels.get('memory')!, 'LDG');
    const waiting = kernels
      .get('memory')!
      .instructions.filter(({ at, waits }) => at > first!.at && waits & (1 << first!.sets!));
    t.ok(first!.sets !== undefined && waiting.length > 0, `sm_${architecture}: scoreboards`);
    // Whatever waits is either in the branch that is left out, or guarded.
    const guarded = kernels.get('guarded')!.instructions.filter(({ isGuarded }) => isGuarded);
    t.ok(guarded.length > 0, `sm_${architecture}: predicates`);
  }
  t.end();
});

t.test('the dependency wait', { skip }, (t) => {
  const wait = 'griddepcontrol.wait;';
  const store = (offset: number) => `st.volatile.global.u32 [%at+${offset}], %n;`;
  const load = 'ld.volatile.global.u32 %b0, [%at];';
  const kernels = compile(t, 90, {
    right: `${wait} ${load} st.volatile.global.u32 [%at+4], %b0;`,
    weights_ahead: `
      ${policyCopy(0)} ${policyLoad('%b0, %b1, %b2, %b3', 64)}
      cp.async.commit_group; ${wait} cp.async.wait_group 0;
      add.u32 %b0, %b0, %b1; add.u32 %b0, %b0, %b2; add.u32 %b0, %b0, %b3;
      st.volatile.global.u32 [%at+4], %b0;`,
    behind_a_branch: `
      setp.eq.u32 %p, %n, 7;
      @%p bra SKIP;
      ${policyCopy(0)}
      SKIP: cp.async.commit_group; ${wait} cp.async.wait_group 0; ${store(0)}`,
    never_waits: `${load} st.volatile.global.u32 [%at+4], %b0;`,
    store: `${store(0)} ${wait}`,
    store_behind_a_branch: `
      setp.eq.u32 %p, %n, 7;
      @%p bra SKIP;
      ${store(0)}
      bar.sync 0;
      SKIP: ${wait} ${store(4)}`,
    reduction: `red.global.add.u32 [%at], %n; ${wait}`,
    load: `${load} ${wait} st.volatile.global.u32 [%at+4], %b0;`,
    copy: `${plainCopy(0)} cp.async.commit_group; ${wait} cp.async.wait_group 0;`,
    end: `setp.eq.u32 %p, %n, 7; @%p exit; ${wait} ${store(0)}`,
    wait_of_some: `
      setp.eq.u32 %p, %n, 7;
      @%p bra SKIP;
      ${wait}
      bar.sync 0;
      SKIP: ${store(0)}`,
  });
  const expected: Record<string, RegExp[]> = {
    right: [],
    weights_ahead: [],
    behind_a_branch: [],
    never_waits: [],
    store: [/^0x\w+ STG: stores before the dependency wait$/],
    store_behind_a_branch: [/ STG: stores before/],
    reduction: [/ (RED|ATOMG): stores before/],
    load: [/ LDG: loads something else than weights before/],
    copy: [/ LDGSTS: loads something else than weights before/],
    end: [/ EXIT: ends before/],
    wait_of_some: [/ STG: stores before/, / EXIT: ends before/],
  };
  for (const [name, patterns] of Object.entries(expected)) {
    const { faults } = examine(kernels.get(name)!);
    t.equal(faults.length, patterns.length, `${name}: ${faults.join(', ')}`);
    for (const pattern of patterns)
      t.ok(
        faults.some((fault) => pattern.test(fault)),
        `${name}: ${pattern}`,
      );
  }
  t.end();
});

t.test('local memory', { skip }, (t) => {
  for (const architecture of [80, 90]) {
    const kernel = compile(t, architecture, {
      spilling: `
        .local .align 4 .b8 kept[64];
        .reg .b64 %k;
        mov.u64 %k, kept;
        and.b32 %b1, %n, 60;
        cvt.u64.u32 %d0, %b1;
        add.u64 %k, %k, %d0;
        st.local.u32 [%k], %n;
        st.local.u32 [kept+8], %b1;
        ld.local.u32 %b0, [%k];
        st.volatile.global.u32 [%at], %b0;`,
    }).get('spilling')!;
    const { faults } = examine(kernel);
    const ways = faults.map((fault) => fault.replace(/^0x\w+ /, ''));
    const [store, load] = ['STL: uses local memory', 'LDL: uses local memory'];
    t.same(ways, [store, store, load], `sm_${architecture}`);
  }
  t.end();
});

const multiply = (a: string) =>
  `mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%f0, %f1, %f2, %f3}, {${a}}, {%n, %n}, {%f0, %f1, %f2, %f3};`;
const loop = (body: string) => `
  mov.f32 %f0, 0f00000000; mov.f32 %f1, %f0; mov.f32 %f2, %f0; mov.f32 %f3, %f0;
  mov.u32 %i, 0;
  TOP:
  .pragma "nounroll";
  ${body}
  add.u64 %at, %at, 4096;
  add.u32 %i, %i, 1;
  setp.lt.u32 %p, %i, %n;
  @%p bra TOP;
  st.volatile.global.f32 [%at], %f0; st.volatile.global.f32 [%at+4], %f1;`;

t.test('the weights of a product', { skip }, (t) => {
  const fragment = (i: number) => [0, 1, 2, 3].map((j) => `%b${i * 4 + j}`).join(', ');
  const ring = (load: (offset: number) => string, commit: string, wait: string) =>
    loop(`
      ${load(0)} ${load(1024)} ${commit} ${wait}
      bar.sync 0;
      ld.volatile.shared.v4.u32 {%a0, %a1, %a2, %a3}, [memory];
      ${multiply('%a0, %a1, %a2, %a3')}`);
  const commit = 'cp.async.commit_group;';
  for (const architecture of [80, 90]) {
    const kernels = compile(t, architecture, {
      ring: ring(policyCopy, commit, 'cp.async.wait_group 2;'),
      ring_at_once: ring(policyCopy, commit, 'cp.async.wait_group 0;'),
      ring_without_wait: ring(policyCopy, commit, ''),
      ring_of_anything: ring(plainCopy, commit, 'cp.async.wait_group 2;'),
      together: loop(
        [0, 1, 2, 3].map((i) => policyLoad(fragment(i), i * 512)).join('\n') +
          [0, 1, 2, 3].map((i) => multiply(fragment(i))).join('\n'),
      ),
    });
    const said = (name: string) => examine(kernels.get(name)!);
    const where = `sm_${architecture}`;
    t.same(said('ring'), { faults: [], weights: '2 copies, 2 groups ahead', multiplies: true });
    t.equal(said('ring_at_once').faults.length, 1, where);
    t.match(said('ring_at_once').faults[0], / DEPBAR: waits for all copies of weights at once$/);
    t.match(said('ring_without_wait').faults, [/ LDGSTS: copies weights that the loop does not/]);
    t.same(said('ring_of_anything'), { faults: [], weights: '', multiplies: true }, where);
    t.match(said('together').faults[0], / LDG: \d+ of \d+ loads of weights follow each other/);
  }
  t.end();
});

/** A loop of instructions that are named, and for loads the scoreboard they set; before it the policy of the loads. */
function loopOf(steps: string[]): Kernel {
  const instructions = ['UMOV', ...steps, 'BRA', 'EXIT'].map((step, i) => {
    const [name = '', scoreboard] = step.split(' ');
    return {
      ...{ at: i * 16, name, predicate: 7, isGuarded: false, stall: 1, waits: 0 },
      ...(name === 'UMOV' && { kind: 0x082, destination: 5 }),
      ...(name === 'LDG' && { descriptor: 4, sets: Number(scoreboard) }),
      ...(name === 'BRA' && { target: 16, falls: true }),
    };
  });
  return { name: 'loop', architecture: 90, instructions, exits: [], branches: new Map() };
}

t.test('weights in registers', (t) => {
  const said = (...steps: string[]) => examine(loopOf(steps));
  const spread = said('LDG 0', 'HMMA', 'LDG 1', 'HMMA', 'LDG 0', 'HMMA', 'LDG 1', 'HMMA');
  t.same(spread.faults, []);
  t.equal(spread.weights, '4 loads, 1 together, 2 scoreboards');
  const pairs = said('LDG 0', 'LDG 0', 'HMMA', 'LDG 1', 'LDG 1', 'HMMA');
  t.same(pairs.faults, [], 'half of them together');
  const together = said('LDG 0', 'LDG 1', 'LDG 2', 'HMMA', 'LDG 3', 'HMMA', 'HMMA');
  t.match(together.faults, [/^0x0010 LDG: 3 of 4 loads of weights follow each other/]);
  const around = said('LDG 0', 'HMMA', 'HMMA', 'LDG 1', 'LDG 2');
  t.match(around.faults, [/3 of 3/], "the loop's end is before its beginning");
  const one = said('LDG 0', 'HMMA', 'LDG 0', 'HMMA');
  t.match(one.faults, [/^0x0010 LDG: one scoreboard tells of all 2 loads of weights$/]);
  t.same(said('LDG 0', 'HMMA').faults, [], 'a single load');
  t.end();
});
