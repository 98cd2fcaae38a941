'use strict';
// Reads the machine code of kernels out of a cubin, as far as these rules need it, and says what breaks them:
//
// 1. A dependent kernel does nothing before the dependency wait (griddepcontrol.wait) that the kernel ahead of it could
//    notice or disturb: no store, no load but of weights, no end of a thread. The source has that order, and the emulator
//    proves it; here it is the compiler that could have moved an access.
// 2. No kernel uses local memory.
// 3. The loop of a matrix product asks for its weights early enough. Weights that are loaded into registers are spread among
//    the multiplications, and two scoreboards at least tell that they are there: whoever waits for a scoreboard waits for
//    every load that sets it. Weights that are copied into a ring in shared memory (LDGSTS) set no scoreboard when they
//    arrive: LDGDEPBAR closes a group of copies, and DEPBAR waits until no more than some groups are under way. Such a loop
//    must have both, and must leave a group under way.
//
// Weights are what is loaded with a cache policy of its own (evict_first_policy of cuda/ptx.cuh): on a GPU with 128-bit
// instructions every access names a descriptor in two uniform registers, and one without a policy takes the driver's, which
// it reads from constant memory.
//
// An instruction has 128 bits: the operation in bits 0 to 11, the predicate that guards it in 12 to 14 and its negation in
// 15, registers from bit 16 on, and from bit 105 on what the compiler tells the scheduler: cycles until the next instruction
// (4 bits, one more to yield), the scoreboard that a result sets, the one that tells that operands were read (3 bits each, 7:
// none), and a mask of the six scoreboards to wait for. machine-code.test.ts proves these fields on small kernels.

const instructionBytes = 16;
const always = 7; // the predicate that is true, and the scoreboard that is none

// The upper three bits of an operation say of which form its operands are; the rest is what it does.
const kindOf = (opcode) => opcode & 0x1ff;
const kinds = {
  0x02d: 'PREEXIT',
  0x02e: 'ACQBULK', // griddepcontrol.wait
  0x037: 'IMMA',
  0x03b: 'LDSM',
  0x03c: 'HMMA',
  0x082: 'UMOV',
  0x08c: 'UISETP',
  0x0b9: 'ULDC',
  0x0ca: 'R2UR',
  0x11a: 'DEPBAR',
  0x1c2: 'R2UR',
  // What runs next: 0x140 to 0x15f.
  0x141: 'BSYNC',
  0x142: 'BREAK',
  0x144: 'CALL',
  0x145: 'BSSY',
  0x146: 'YIELD',
  0x147: 'BRA',
  0x148: 'WARPSYNC',
  0x149: 'BRX',
  0x14d: 'EXIT',
  0x150: 'RET',
  0x158: 'BRX', // by a uniform register
  0x15c: 'BPT',
  // Memory, and what else goes the way of it: 0x180 to 0x1bf.
  0x180: 'LD',
  0x181: 'LDG',
  0x182: 'LDC',
  0x183: 'LDL',
  0x184: 'LDS',
  0x185: 'ST',
  0x186: 'STG',
  0x187: 'STL',
  0x188: 'STS',
  0x189: 'SHFL',
  0x18a: 'ATOM',
  0x18b: 'ATOM',
  0x18c: 'ATOMS',
  0x18d: 'ATOMS',
  0x18e: 'RED',
  0x18f: 'CCTL',
  0x192: 'MEMBAR',
  0x1a1: 'MATCH',
  0x1a8: 'ATOMG',
  0x1a9: 'ATOMG',
  0x1aa: 'QSPC',
  0x1ab: 'ERRBAR',
  0x1ae: 'LDGSTS',
  0x1af: 'LDGDEPBAR',
};
const isControl = (kind) => kind >= 0x140 && kind <= 0x15f;
const isMemory = (kind) => kind >= 0x180 && kind <= 0x1bf;
/** Computes a uniform register. */
const isUniform = (kind) => kind >= 0x080 && kind <= 0x0bf && kinds[kind] !== 'UISETP';

/** Of the operations that reach memory: what no other kernel notices. */
const unnoticed = new Set([
  ...['LDL', 'LDS', 'STL', 'STS', 'ATOMS', 'LDC', 'SHFL', 'MATCH'],
  ...['CCTL', 'MEMBAR', 'ERRBAR', 'QSPC', 'LDGDEPBAR'],
]);
const loads = new Set(['LD', 'LDG', 'LDGSTS']);
const multiplications = new Set(['HMMA', 'IMMA']);

/** Where the driver keeps the descriptor of accesses without a policy: the offset into constant bank 0. */
const defaultDescriptor = { 80: 0x118, 90: 0x208 };

/** The architectures whose code is understood. */
const architectures = Object.keys(defaultDescriptor).map(Number);

const hexadecimal = (at) => `0x${at.toString(16).padStart(4, '0')}`;

/** One instruction of 16 bytes; `at` is its address in the kernel. */
function decode(bytes, at, architecture) {
  const word = bytes.readBigUInt64LE(at) | (bytes.readBigUInt64LE(at + 8) << 64n);
  const field = (from, to) => Number(BigInt.asUintN(to - from, word >> BigInt(from)));
  const signed = (from, to) => Number(BigInt.asIntN(to - from, word >> BigInt(from)));
  const opcode = field(0, 12);
  const kind = kindOf(opcode);
  const name = kinds[kind];
  if (isControl(kind) && name === undefined)
    throw new Error(`${hexadecimal(at)}: branch ${hexadecimal(opcode)} is not known`);
  const scoreboard = (from) =>
    field(from, from + 3) === always ? undefined : field(from, from + 3);
  const instruction = {
    at,
    kind,
    name: name ?? (isMemory(kind) ? `memory operation ${hexadecimal(opcode)}` : undefined),
    predicate: field(12, 15),
    negated: field(15, 16) === 1,
    destination: field(16, 24),
    stall: field(105, 109),
    sets: scoreboard(110),
    frees: scoreboard(113),
    waits: field(116, 122),
  };
  const isGuarded = instruction.predicate !== always || instruction.negated;
  instruction.isGuarded = isGuarded;
  if (loads.has(name)) instruction.descriptor = name === 'LDGSTS' ? field(64, 70) : field(32, 38);
  if (name === 'ULDC') instruction.constant = { bank: field(54, 59), offset: field(38, 54) };
  if (name === 'UMOV' && opcode === 0xc82) instruction.source = field(32, 38);
  if (name === 'BSSY' || name === 'BSYNC' || name === 'BREAK') instruction.barrier = field(16, 20);
  if (name === 'BSSY') instruction.target = at + instructionBytes + signed(32, 64);
  if (name === 'BRA' || name === 'CALL') {
    // In words of 4 bytes, whose lowest byte is apart since sm_90.
    const distance = architecture >= 90 ? signed(34, 82) * 256 + field(16, 24) : signed(34, 82);
    instruction.target = at + instructionBytes + distance * 4;
    // BRA has a predicate of its own, and bits that make it depend on the warp.
    instruction.falls = isGuarded || field(87, 91) !== always || field(32, 34) !== 0;
  }
  if (name === 'DEPBAR') {
    instruction.isCount = field(47, 48) === 1;
    instruction.scoreboard = field(44, 47);
    instruction.pending = field(38, 44);
  }
  return instruction;
}

/** The kernels of a cubin: their names, instructions, and what .nv.info says of ends and computed branches. */
function kernelsOf(cubin) {
  const count = cubin.readUInt16LE(60);
  const size = cubin.readUInt16LE(58);
  const table = Number(cubin.readBigUInt64LE(40));
  const sections = Array.from({ length: count }, (_, i) => {
    const at = table + i * size;
    const [begin, length] = [at + 24, at + 32].map((place) => Number(cubin.readBigUInt64LE(place)));
    return { name: cubin.readUInt32LE(at), bytes: cubin.subarray(begin, begin + length) };
  });
  const strings = sections[cubin.readUInt16LE(62)].bytes;
  for (const section of sections) {
    section.name = strings.toString('latin1', section.name, strings.indexOf(0, section.name));
  }
  const flags = cubin.readUInt32LE(48);
  // Since CUDA 13 in bits 8 to 15, before that in 0 to 7.
  const architecture = architectures.find(
    (one) => one === ((flags >> 8) & 0xff) || one === (flags & 0xff),
  );
  if (architecture === undefined)
    throw new Error(`machine code of this architecture (flags ${hexadecimal(flags)}) is not known`);
  return sections
    .filter(({ name }) => name.startsWith('.text.'))
    .map(({ name, bytes }) => {
      const kernel = name.slice('.text.'.length);
      const info = sections.find((section) => section.name === `.nv.info.${kernel}`);
      const instructions = [];
      for (let at = 0; at < bytes.length; at += instructionBytes)
        instructions.push(decode(bytes, at, architecture));
      return {
        name: kernel,
        architecture,
        instructions,
        ...attributesOf(info?.bytes ?? Buffer.alloc(0)),
      };
    });
}

/**
 * Of .nv.info the addresses `exits`, of EXIT instructions, and `branches`, the targets of each computed branch; and `threads`,
 * those of a block that __launch_bounds__ allows, if there are any.
 */
function attributesOf(bytes) {
  const exits = [];
  const branches = new Map();
  let threads;
  for (let at = 0; at + 4 <= bytes.length;) {
    const [format, attribute, size] = [bytes[at], bytes[at + 1], bytes.readUInt16LE(at + 2)];
    at += 4;
    if (format !== 4) continue; // the value is in the size's place
    const values = Array.from({ length: size >> 2 }, (_, i) => bytes.readUInt32LE(at + i * 4));
    if (attribute === 0x05) threads = values.reduce((product, size) => product * size);
    if (attribute === 0x1c) exits.push(...values);
    if (attribute === 0x34) {
      for (let i = 0; i < values.length; i += 3 + values[i + 2]) {
        branches.set(values[i], values.slice(i + 3, i + 3 + values[i + 2]));
      }
    }
    at += size;
  }
  return { exits, branches, threads };
}

/** For each instruction the numbers of those that may run next. */
function successorsOf({ instructions, branches }) {
  const number = (address) => address / instructionBytes;
  const meetings = (barrier) =>
    instructions.filter(({ name, barrier: own }) => name === 'BSSY' && own === barrier);
  return instructions.map((instruction, i) => {
    const next = i + 1 < instructions.length ? [i + 1] : [];
    switch (instruction.name) {
      case 'BRA':
        return [number(instruction.target), ...(instruction.falls ? next : [])];
      case 'CALL': // and comes back
        return [number(instruction.target), ...next];
      case 'BRX':
        return [
          ...(branches.get(instruction.at) ?? []).map(number),
          ...(instruction.isGuarded ? next : []),
        ];
      case 'BSYNC': {
        // To where the last BSSY of its barrier says; nested ones before it have barriers of their own.
        const before = meetings(instruction.barrier).filter(
          ({ target, at }) => at < instruction.at && target >= instruction.at,
        );
        const all = before.length > 0 ? before : meetings(instruction.barrier);
        return [...new Set(all.map(({ target }) => number(target)))].concat(
          instruction.isGuarded ? next : [],
        );
      }
      case 'EXIT':
      case 'RET':
        return instruction.isGuarded ? next : [];
      default:
        return next;
    }
  });
}

/** Walks from the first instruction over everything that may run; `ends(i)` says where not to go on. */
function reachable(successors, ends = () => false) {
  const seen = new Set([0]);
  for (const i of seen) {
    if (ends(i)) continue;
    for (const next of successors[i]) seen.add(next);
  }
  return seen;
}

/**
 * The loads that may have been given the driver's descriptor, which has no policy. A policy is in the upper half of a
 * descriptor, and is computed in uniform registers. What comes from other registers counts as the driver's.
 */
function loadsWithoutPolicy({ instructions, architecture }, successors) {
  const bit = (register) => 1n << BigInt(register);
  const mayBeDefault = instructions.map(() => 0n); // uniform registers, before the instruction
  mayBeDefault[0] = bit(64) - 1n;
  const after = (before, { name, kind, destination, isGuarded, source, constant }) => {
    if (
      name === 'ULDC' &&
      constant.bank === 0 &&
      constant.offset === defaultDescriptor[architecture]
    )
      return before | bit(destination) | bit(destination + 1);
    if (name === 'R2UR' || (source !== undefined && before & bit(source)))
      return before | bit(destination);
    return isUniform(kind) && !isGuarded ? before & ~bit(destination) : before;
  };
  const waiting = [0];
  const seen = new Set();
  while (waiting.length > 0) {
    const i = waiting.pop();
    seen.add(i);
    const registers = after(mayBeDefault[i], instructions[i]);
    for (const next of successors[i]) {
      const joined = mayBeDefault[next] | registers;
      if (joined === mayBeDefault[next] && seen.has(next)) continue;
      mayBeDefault[next] = joined;
      waiting.push(next);
    }
  }
  return new Set(
    instructions.flatMap(({ descriptor }, i) =>
      descriptor !== undefined && mayBeDefault[i] & bit(descriptor + 1) ? [i] : [],
    ),
  );
}

/** Loops, each by the numbers of its instructions: whatever leads back to an instruction that all of it begins with. */
function loopsOf(successors) {
  const predecessors = successors.map(() => []);
  successors.forEach((all, i) => all.forEach((next) => predecessors[next].push(i)));
  const isReached = reachable(successors);
  const loops = [];
  for (const head of isReached) {
    if (!predecessors[head].some((i) => i >= head)) continue; // code lies in its order
    const isReachedAround = reachable(successors, (i) => i === head);
    const back = predecessors[head].filter(
      (i) => isReached.has(i) && (i === head || !isReachedAround.has(i)),
    );
    if (back.length === 0) continue;
    const body = new Set([head]);
    const waiting = [...back];
    while (waiting.length > 0) {
      const one = waiting.pop();
      if (body.has(one) || !isReached.has(one)) continue;
      body.add(one);
      waiting.push(...predecessors[one]);
    }
    loops.push(body);
  }
  return loops;
}

/** Of how many weights follow each other with no multiplication between them, the most; the end is before the beginning. */
function longestRun(isWeight) {
  const multiplied = isWeight.indexOf(false);
  if (multiplied < 0) return isWeight.length;
  let longest = 0;
  let run = 0;
  for (const one of [...isWeight.slice(multiplied), ...isWeight.slice(0, multiplied)]) {
    run = one ? run + 1 : 0;
    longest = Math.max(longest, run);
  }
  return longest;
}

/**
 * What of the rules a kernel breaks, as sentences, and how its products get their weights; that is empty for a kernel that
 * multiplies no weights on the tensor cores.
 */
function examine(kernel) {
  const { instructions } = kernel;
  const successors = successorsOf(kernel);
  const withoutPolicy = loadsWithoutPolicy(kernel, successors);
  const isWeight = (i) => loads.has(instructions[i].name) && !withoutPolicy.has(i);
  const faults = [];
  const say = (i, text) =>
    faults.push(`${hexadecimal(instructions[i].at)} ${instructions[i].name}: ${text}`);

  if (instructions.some(({ name }) => name === 'ACQBULK')) {
    const early = reachable(
      successors,
      (i) => instructions[i].name === 'ACQBULK' && !instructions[i].isGuarded,
    );
    for (const i of [...early].sort((a, b) => a - b)) {
      const { name, kind } = instructions[i];
      if (loads.has(name)) {
        if (!isWeight(i)) say(i, 'loads something else than weights before the dependency wait');
      } else if (isMemory(kind) && !unnoticed.has(name)) {
        say(i, 'stores before the dependency wait');
      } else if (name === 'EXIT') {
        say(i, 'ends before the dependency wait');
      }
    }
  }

  instructions.forEach(({ name }, i) => {
    if (name === 'LDL' || name === 'STL') say(i, 'uses local memory');
  });

  const ways = new Set();
  const loops = loopsOf(successors);
  const products = loops.filter(
    (body) =>
      [...body].some((i) => multiplications.has(instructions[i].name)) && [...body].some(isWeight),
  );
  const isInner = (body) =>
    !products.some((other) => other.size < body.size && [...other].every((i) => body.has(i)));
  for (const body of products.filter(isInner)) {
    const inOrder = [...body].sort((a, b) => a - b);
    const weights = inOrder.filter(isWeight);
    const copies = weights.filter((i) => instructions[i].name === 'LDGSTS');
    const loaded = weights.filter((i) => instructions[i].name !== 'LDGSTS');
    if (copies.length > 0) {
      const groups = inOrder.filter((i) => instructions[i].name === 'LDGDEPBAR');
      const scoreboards = new Set(groups.map((i) => instructions[i].sets));
      const waits = inOrder.filter(
        (i) =>
          instructions[i].name === 'DEPBAR' &&
          instructions[i].isCount &&
          scoreboards.has(instructions[i].scoreboard),
      );
      if (groups.length === 0) say(copies[0], 'copies weights into no group of copies');
      else if (waits.length === 0) say(copies[0], 'copies weights that the loop does not wait for');
      for (const i of waits.filter((wait) => instructions[wait].pending === 0))
        say(i, 'waits for all copies of weights at once');
      const pending = waits.map((i) => instructions[i].pending);
      ways.add(
        `${copies.length} copies, ${[...new Set(pending)].sort((a, b) => a - b).join(' or ')} groups ahead`,
      );
    }
    if (loaded.length > 0) {
      const steps = inOrder.filter(
        (i) => loaded.includes(i) || multiplications.has(instructions[i].name),
      );
      const longest = longestRun(steps.map((i) => loaded.includes(i)));
      const scoreboards = new Set(loaded.map((i) => instructions[i].sets));
      if (loaded.length > 1 && longest * 2 > loaded.length)
        say(
          loaded[0],
          `${longest} of ${loaded.length} loads of weights follow each other without a multiplication`,
        );
      if (loaded.length > 1 && scoreboards.size < 2)
        say(loaded[0], `one scoreboard tells of all ${loaded.length} loads of weights`);
      ways.add(`${loaded.length} loads, ${longest} together, ${scoreboards.size} scoreboards`);
    }
  }
  const multiplies = loops.some((body) =>
    [...body].some((i) => multiplications.has(instructions[i].name)),
  );
  return { faults, weights: [...ways].join('; '), multiplies };
}

module.exports = { architectures, decode, examine, kernelsOf };
