'use strict';
// Facts that a binary states about itself: describe(file) reads ELF, Mach-O and PE files of 64-bit little-endian
// machines and gives
//   { format: 'elf' | 'mach-o' | 'pe', machine: 'x64' | 'arm64',
//     libraries: names of those it needs,
//     versions: { GLIBC: '2.17', … } the highest of each (ELF),
//     symbols: whether the table that a linker's -s leaves out is there (ELF),
//     signature: 'none' | 'valid' | why it is not (Mach-O) }
const { createHash } = require('node:crypto');
const fs = require('node:fs');

const textAt = (bytes, at) => bytes.toString('latin1', at, bytes.indexOf(0, at));

/** The higher of two versions, such as "2.17" and "2.3.4". */
function higher(a, b) {
  const [x, y] = [a, b].map((version) => version.split('.').map(Number));
  for (let i = 0; i < Math.max(x.length, y.length); i++)
    if ((x[i] ?? 0) !== (y[i] ?? 0)) return (x[i] ?? 0) > (y[i] ?? 0) ? a : b;
  return a;
}

/** Elf64_Shdr: type at 4, offset at 24, size at 32, link at 40. */
function elfSections(bytes) {
  const offset = Number(bytes.readBigUInt64LE(40));
  const [size, count] = [bytes.readUInt16LE(58), bytes.readUInt16LE(60)];
  return Array.from({ length: count }, (_, i) => {
    const at = offset + i * size;
    return {
      type: bytes.readUInt32LE(at + 4),
      offset: Number(bytes.readBigUInt64LE(at + 24)),
      size: Number(bytes.readBigUInt64LE(at + 32)),
      link: bytes.readUInt32LE(at + 40),
    };
  });
}

/** Elf64_Verneed (next at 12, first name at 8) and Elf64_Vernaux (name at 8, next at 12). */
function elfVersions(bytes, section, names) {
  const versions = {};
  const follow = (start, visit) => {
    for (let at = start, next = 1; next !== 0; at += next) next = visit(at);
  };
  follow(section.offset, (need) => {
    follow(need + bytes.readUInt32LE(need + 8), (entry) => {
      const name = textAt(bytes, names.offset + bytes.readUInt32LE(entry + 8));
      const [, library, version] = /^([A-Z]+)_([0-9.]+)$/.exec(name) ?? [];
      if (library) versions[library] = higher(version, versions[library] ?? '0');
      return bytes.readUInt32LE(entry + 12);
    });
    return bytes.readUInt32LE(need + 12);
  });
  return versions;
}

function describeElf(bytes) {
  const [symbolTable, dynamic, neededVersions] = [2, 6, 0x6ffffffe];
  const sections = elfSections(bytes);
  const of = (type) => sections.find((section) => section.type === type);
  const libraries = [];
  const table = of(dynamic);
  for (let at = table.offset; at < table.offset + table.size; at += 16) {
    if (bytes.readBigUInt64LE(at) !== 1n) continue; // DT_NEEDED
    libraries.push(
      textAt(bytes, sections[table.link].offset + Number(bytes.readBigUInt64LE(at + 8))),
    );
  }
  const versions = of(neededVersions);
  return {
    format: 'elf',
    machine: { 62: 'x64', 183: 'arm64' }[bytes.readUInt16LE(18)],
    libraries,
    versions: versions ? elfVersions(bytes, versions, sections[versions.link]) : {},
    symbols: of(symbolTable) !== undefined,
  };
}

/** The hash of every page, as its code directory has them (big-endian; xnu, osfmk/kern/cs_blobs.h). */
function machSignature(bytes, offset) {
  const word = (at) => bytes.readUInt32BE(at);
  let directory;
  for (let i = 0; i < word(offset + 8); i++) {
    const blob = offset + word(offset + 12 + 8 * i + 4);
    if (word(blob) === 0xfade0c02) directory = blob;
  }
  if (directory === undefined) return 'no code directory';
  const [hashes, count, limit] = [16, 28, 32].map((at) => word(directory + at));
  const [size, type, page] = [36, 37, 39].map((at) => bytes[directory + at]);
  if (size !== 32 || type !== 2) return `hashes of type ${type}, not SHA-256`;
  if (limit !== offset) return `covers ${limit} bytes of ${offset}`;
  for (let i = 0; i < count; i++) {
    const part = bytes.subarray(i << page, Math.min((i + 1) << page, limit));
    const expected = bytes.subarray(directory + hashes + 32 * i, directory + hashes + 32 * (i + 1));
    if (!createHash('sha256').update(part).digest().equals(expected))
      return `page ${i} was changed after it was signed`;
  }
  return 'valid';
}

function describeMach(bytes) {
  const [loadLibrary, codeSignature, buildVersion] = [0xc, 0x1d, 0x32];
  const libraries = [];
  const versions = {};
  let signature = 'none';
  for (let i = 0, at = 32; i < bytes.readUInt32LE(16); i++, at += bytes.readUInt32LE(at + 4)) {
    const command = bytes.readUInt32LE(at);
    if (command === loadLibrary) libraries.push(textAt(bytes, at + bytes.readUInt32LE(at + 8)));
    if (command === codeSignature) signature = machSignature(bytes, bytes.readUInt32LE(at + 8));
    if (command === buildVersion)
      versions['macOS'] = `${bytes.readUInt16LE(at + 14)}.${bytes[at + 13]}`;
  }
  const machine = { 0x01000007: 'x64', 0x0100000c: 'arm64' }[bytes.readUInt32LE(4)];
  return { format: 'mach-o', machine, libraries, versions, signature };
}

function describePe(bytes) {
  const header = bytes.readUInt32LE(60);
  const sections = header + 24 + bytes.readUInt16LE(header + 20);
  const inFile = (address) => {
    for (let i = 0; i < bytes.readUInt16LE(header + 6); i++) {
      const [size, begin, , at] = [8, 12, 16, 20].map((o) =>
        bytes.readUInt32LE(sections + 40 * i + o),
      );
      if (address >= begin && address < begin + size) return at + address - begin;
    }
    throw new Error(`address ${address} is in no section`);
  };
  const libraries = [];
  const imports = bytes.readUInt32LE(header + 24 + 112 + 8);
  for (let at = inFile(imports); bytes.readUInt32LE(at + 12) !== 0; at += 20)
    libraries.push(textAt(bytes, inFile(bytes.readUInt32LE(at + 12))));
  const machine = { 0x8664: 'x64', 0xaa64: 'arm64' }[bytes.readUInt16LE(header + 4)];
  return { format: 'pe', machine, libraries, versions: {} };
}

function describe(file) {
  const bytes = fs.readFileSync(file);
  const begin = bytes.readUInt32BE(0);
  if (begin === 0x7f454c46) return describeElf(bytes);
  if (begin === 0xcffaedfe) return describeMach(bytes);
  if (begin >>> 16 === 0x4d5a) return describePe(bytes);
  throw new Error(`${file} is no binary of Linux, macOS or Windows`);
}

module.exports = { describe, higher };
