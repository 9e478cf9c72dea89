import { AppError } from '../../../base/errors.ts';

export type Architecture = 'amd64' | 'arm64';

/**
 * The pause program: holds a pod's namespaces and reaps what is orphaned into its PID namespace. As PID 1 without handlers it would ignore
 * every signal but SIGKILL; blocked signals are kept, though, so it blocks three and waits for them:
 *   sigprocmask(SIG_BLOCK, {INT, TERM, CHLD}); for (;;) { sig = sigwaitinfo(set); if (sig != CHLD) exit(0); while (wait4(-1, WNOHANG) > 0); }
 */
const signalSet = (1n << 1n) | (1n << 14n) | (1n << 16n); // SIGINT 2, SIGTERM 15, SIGCHLD 17

/** x86-64 machine code; syscall numbers: rt_sigprocmask 14, rt_sigtimedwait 128, wait4 61, exit_group 231. */
function amd64Code(): Uint8Array {
  const set = new Uint8Array(8);
  new DataView(set.buffer).setBigUint64(0, signalSet, true);
  // biome-ignore format: one instruction a line
  return Uint8Array.of(
    0x48, 0xb8, ...set,                         // mov rax, signalSet
    0x50,                                       // push rax
    0x31, 0xff,                                 // xor edi, edi             (SIG_BLOCK)
    0x48, 0x89, 0xe6,                           // mov rsi, rsp
    0x31, 0xd2,                                 // xor edx, edx
    0x41, 0xba, 8, 0, 0, 0,                     // mov r10d, 8
    0xb8, 14, 0, 0, 0,                          // mov eax, rt_sigprocmask
    0x0f, 0x05,                                 // syscall
    // wait:                                       offset 31
    0x48, 0x89, 0xe7,                           // mov rdi, rsp
    0x31, 0xf6,                                 // xor esi, esi
    0x31, 0xd2,                                 // xor edx, edx
    0x41, 0xba, 8, 0, 0, 0,                     // mov r10d, 8
    0xb8, 128, 0, 0, 0,                         // mov eax, rt_sigtimedwait
    0x0f, 0x05,                                 // syscall
    0x83, 0xf8, 2,                              // cmp eax, SIGINT
    0x74, 31,                                   // je exit
    0x83, 0xf8, 15,                             // cmp eax, SIGTERM
    0x74, 26,                                   // je exit
    // reap:                                       offset 61
    0x6a, 0xff,                                 // push -1
    0x5f,                                       // pop rdi
    0x31, 0xf6,                                 // xor esi, esi
    0xba, 1, 0, 0, 0,                           // mov edx, WNOHANG
    0x45, 0x31, 0xd2,                           // xor r10d, r10d
    0xb8, 61, 0, 0, 0,                          // mov eax, wait4
    0x0f, 0x05,                                 // syscall
    0x85, 0xc0,                                 // test eax, eax
    0x7f, 0xe8,                                 // jg reap
    0xeb, 0xc8,                                 // jmp wait
    // exit:                                       offset 87
    0x31, 0xff,                                 // xor edi, edi
    0xb8, 231, 0, 0, 0,                         // mov eax, exit_group
    0x0f, 0x05,                                 // syscall
  );
}

/** AArch64 machine code; syscall numbers: rt_sigprocmask 135, rt_sigtimedwait 137, wait4 260, exit_group 94. */
function arm64Code(): Uint8Array {
  const movz = (rd: number, imm: number, shift16 = 0): number => (0xd2800000 | (shift16 << 21) | (imm << 5) | rd) >>> 0;
  const movk = (rd: number, imm: number, shift16: number): number =>
    (0xf2800000 | (shift16 << 21) | (imm << 5) | rd) >>> 0;
  const svc = 0xd4000001;
  const branch = (from: number, to: number): number => (0x14000000 | ((to - from) & 0x3ffffff)) >>> 0;
  const branchIf = (from: number, to: number, condition: number): number =>
    (0x54000000 | (((to - from) & 0x7ffff) << 5) | condition) >>> 0;
  const wait = 10;
  const reap = 20;
  const exit = 29;
  // biome-ignore format: one instruction a line
  const words = [
    movz(9, Number(signalSet & 0xffffn)),          //  0 movz x9, low
    movk(9, Number((signalSet >> 16n) & 0xffffn), 1), // 1 movk x9, high, lsl 16
    0xd10043ff,                                    //  2 sub sp, sp, 16
    0xf90003e9,                                    //  3 str x9, [sp]
    movz(0, 0),                                    //  4 x0 = SIG_BLOCK
    0x910003e1,                                    //  5 mov x1, sp
    movz(2, 0),                                    //  6
    movz(3, 8),                                    //  7
    movz(8, 135),                                  //  8 rt_sigprocmask
    svc,                                           //  9
    0x910003e0,                                    // 10 wait: mov x0, sp
    movz(1, 0),                                    // 11
    movz(2, 0),                                    // 12
    movz(3, 8),                                    // 13
    movz(8, 137),                                  // 14 rt_sigtimedwait
    svc,                                           // 15
    0xf100081f,                                    // 16 cmp x0, 2
    branchIf(17, exit, 0),                         // 17 b.eq exit
    0xf1003c1f,                                    // 18 cmp x0, 15
    branchIf(19, exit, 0),                         // 19 b.eq exit
    0x92800000,                                    // 20 reap: movn x0, 0  (-1)
    movz(1, 0),                                    // 21
    movz(2, 1),                                    // 22 WNOHANG
    movz(3, 0),                                    // 23
    movz(8, 260),                                  // 24 wait4
    svc,                                           // 25
    0xf100001f,                                    // 26 cmp x0, 0
    branchIf(27, reap, 12),                        // 27 b.gt reap
    branch(28, wait),                              // 28 b wait
    movz(0, 0),                                    // 29 exit:
    movz(8, 94),                                   // 30 exit_group
    svc,                                           // 31
  ];
  const out = new Uint8Array(words.length * 4);
  const view = new DataView(out.buffer);
  words.forEach((word, i) => {
    view.setUint32(i * 4, word, true);
  });
  return out;
}

/** ELF machine numbers (elf(5)): EM_X86_64, EM_AARCH64. */
const machine: Record<Architecture, number> = { amd64: 62, arm64: 183 };

/** A static executable of one segment that holds only the pause loop. */
export function pauseElf(architecture: Architecture): Uint8Array {
  const code = architecture === 'amd64' ? amd64Code() : arm64Code();
  const base = 0x400000n;
  const headerLength = 64 + 56;
  const length = headerLength + code.length;
  const out = new Uint8Array(length);
  const view = new DataView(out.buffer);
  out.set([0x7f, 0x45, 0x4c, 0x46, 2, 1, 1, 0]); // ELF, 64 bit, little endian, version 1, System V
  view.setUint16(16, 2, true); // ET_EXEC
  view.setUint16(18, machine[architecture], true);
  view.setUint32(20, 1, true);
  view.setBigUint64(24, base + BigInt(headerLength), true); // entry
  view.setBigUint64(32, 64n, true); // program headers
  view.setUint16(52, 64, true);
  view.setUint16(54, 56, true);
  view.setUint16(56, 1, true);
  view.setUint32(64, 1, true); // PT_LOAD
  view.setUint32(68, 5, true); // read, execute
  view.setBigUint64(80, base, true);
  view.setBigUint64(88, base, true);
  view.setBigUint64(96, BigInt(length), true);
  view.setBigUint64(104, BigInt(length), true);
  view.setBigUint64(112, 0x10000n, true);
  out.set(code, headerLength);
  return out;
}

/** The architecture of this machine by the name that Go, OCI and Kubernetes use. */
export function goArchitecture(arch: string): Architecture {
  if (arch === 'x64') return 'amd64';
  if (arch === 'arm64') return 'arm64';
  throw new AppError('UNSUPPORTED_ARCHITECTURE', `no pause program for architecture ${arch}`, {
    hint: 'x64 and arm64 are supported',
  });
}
