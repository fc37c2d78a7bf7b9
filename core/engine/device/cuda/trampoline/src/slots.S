// One jump for each entry of the driver, through a slot that loader.c fills. Only the linker's own scratch register
// is touched, so that arguments of any signature pass through.
#if defined(__x86_64__)
#define JUMP(name) jmp *slot_##name(%rip)
#elif defined(__aarch64__)
#define JUMP(name) adrp x16, slot_##name; ldr x16, [x16, :lo12:slot_##name]; br x16
#else
#error "CUDA needs x86-64 or arm64: build without the tag clipcuda"
#endif

#define SYMBOL(name) .globl name; .hidden name; .type name, %function; name: JUMP(name); .size name, . - name;
    .text
    .balign 16
#include "symbols.inc"
#undef SYMBOL

#define SYMBOL(name) slot_##name: .quad tandem_no_driver;
    .data
    .balign 8
    .globl tandem_slots
    .hidden tandem_slots
tandem_slots:
#include "symbols.inc"

    .section .note.GNU-stack, "", %progbits
