//go:build !purego

#include "textflag.h"

// Message a is hashed in X1 to X6 and message b in X7 to X12: two registers of
// state each, as the instructions want it (the words a, b, e, f in the first and
// c, d, g, h in the second, from the top down), and sixteen words of the schedule.
// X0 hands words and constants to SHA256RNDS2; X13 and X14 are free; X15 turns
// around the bytes of words.

// LOAD has the words 4g to 4g+3 of both blocks.
#define LOAD(g, wa, wb) \
	MOVOU (16*g)(SI), wa; \
	MOVOU (16*g)(DX), wb; \
	PSHUFB X15, wa; \
	PSHUFB X15, wb

// ROUNDS does the rounds 4g to 4g+3 with the words wa and wb. The two messages take
// turns by the instruction: by four rounds it takes up to a tenth longer.
#define ROUNDS(g, wa, wb) \
	MOVO (16*g)(AX), X13; \
	MOVO X13, X14; \
	PADDD wa, X13; \
	PADDD wb, X14; \
	MOVO X13, X0; \
	SHA256RNDS2 X0, X1, X2; \
	MOVO X14, X0; \
	SHA256RNDS2 X0, X7, X8; \
	PSHUFD $0x0e, X13, X0; \
	SHA256RNDS2 X0, X2, X1; \
	PSHUFD $0x0e, X14, X0; \
	SHA256RNDS2 X0, X8, X7

// BEGIN turns four words whose rounds are over, olda and oldb, into half of those that
// come sixteen later. wa and wb are the four behind them.
#define BEGIN(wa, olda, wb, oldb) \
	SHA256MSG1 wa, olda; \
	SHA256MSG1 wb, oldb

// NEXT completes the four words behind wa and wb, which BEGIN began.
#define NEXT(wa, beforea, nexta, wb, beforeb, nextb) \
	MOVO wa, X13; \
	MOVO wb, X14; \
	PALIGNR $4, beforea, X13; \
	PALIGNR $4, beforeb, X14; \
	PADDD X13, nexta; \
	PADDD X14, nextb; \
	SHA256MSG2 wa, nexta; \
	SHA256MSG2 wb, nextb

// ENTER reads the eight words of a state, LEAVE writes them.
#define ENTER(at, abef, cdgh, t) \
	MOVOU at(DI), abef; \
	MOVOU (at+16)(DI), cdgh; \
	PSHUFB X15, abef; \
	PSHUFB X15, cdgh; \
	PSHUFD $0xb1, abef, abef; \
	PSHUFD $0x1b, cdgh, cdgh; \
	MOVO abef, t; \
	PALIGNR $8, cdgh, abef; \
	PBLENDW $0xf0, t, cdgh

#define LEAVE(at, abef, cdgh, t) \
	PSHUFD $0x1b, abef, abef; \
	PSHUFD $0xb1, cdgh, cdgh; \
	MOVO abef, t; \
	PBLENDW $0xf0, cdgh, abef; \
	PALIGNR $8, t, cdgh; \
	PSHUFB X15, abef; \
	PSHUFB X15, cdgh; \
	MOVOU abef, at(DI); \
	MOVOU cdgh, (at+16)(DI)

// func blocks(h *[2][Size]byte, a, b *byte, n int)
TEXT ·blocks(SB), NOSPLIT, $64-32
	MOVQ h+0(FP), DI
	MOVQ a+8(FP), SI
	MOVQ b+16(FP), DX
	MOVQ n+24(FP), CX
	TESTQ CX, CX
	JLE done
	LEAQ k<>(SB), AX
	MOVO flip<>(SB), X15
	ENTER(0, X1, X2, X13)
	ENTER(32, X7, X8, X14)

block:
	MOVOU X1, 0(SP)
	MOVOU X2, 16(SP)
	MOVOU X7, 32(SP)
	MOVOU X8, 48(SP)

	LOAD(0, X3, X9)
	ROUNDS(0, X3, X9)

	LOAD(1, X4, X10)
	ROUNDS(1, X4, X10)
	BEGIN(X4, X3, X10, X9)

	LOAD(2, X5, X11)
	ROUNDS(2, X5, X11)
	BEGIN(X5, X4, X11, X10)

	LOAD(3, X6, X12)
	ROUNDS(3, X6, X12)
	NEXT(X6, X5, X3, X12, X11, X9)
	BEGIN(X6, X5, X12, X11)

	ROUNDS(4, X3, X9)
	NEXT(X3, X6, X4, X9, X12, X10)
	BEGIN(X3, X6, X9, X12)

	ROUNDS(5, X4, X10)
	NEXT(X4, X3, X5, X10, X9, X11)
	BEGIN(X4, X3, X10, X9)

	ROUNDS(6, X5, X11)
	NEXT(X5, X4, X6, X11, X10, X12)
	BEGIN(X5, X4, X11, X10)

	ROUNDS(7, X6, X12)
	NEXT(X6, X5, X3, X12, X11, X9)
	BEGIN(X6, X5, X12, X11)

	ROUNDS(8, X3, X9)
	NEXT(X3, X6, X4, X9, X12, X10)
	BEGIN(X3, X6, X9, X12)

	ROUNDS(9, X4, X10)
	NEXT(X4, X3, X5, X10, X9, X11)
	BEGIN(X4, X3, X10, X9)

	ROUNDS(10, X5, X11)
	NEXT(X5, X4, X6, X11, X10, X12)
	BEGIN(X5, X4, X11, X10)

	ROUNDS(11, X6, X12)
	NEXT(X6, X5, X3, X12, X11, X9)
	BEGIN(X6, X5, X12, X11)

	ROUNDS(12, X3, X9)
	NEXT(X3, X6, X4, X9, X12, X10)
	BEGIN(X3, X6, X9, X12)

	ROUNDS(13, X4, X10)
	NEXT(X4, X3, X5, X10, X9, X11)

	ROUNDS(14, X5, X11)
	NEXT(X5, X4, X6, X11, X10, X12)

	ROUNDS(15, X6, X12)

	// What came out is added to the state from before the block.
	MOVOU 0(SP), X13
	MOVOU 16(SP), X14
	PADDD X13, X1
	PADDD X14, X2
	MOVOU 32(SP), X13
	MOVOU 48(SP), X14
	PADDD X13, X7
	PADDD X14, X8

	ADDQ $64, SI
	ADDQ $64, DX
	DECQ CX
	JNZ block

	LEAVE(0, X1, X2, X13)
	LEAVE(32, X7, X8, X14)

done:
	RET

// func cpuid(leaf, sub uint32) (eax, ebx, ecx, edx uint32)
TEXT ·cpuid(SB), NOSPLIT, $0-24
	MOVL leaf+0(FP), AX
	MOVL sub+4(FP), CX
	CPUID
	MOVL AX, eax+8(FP)
	MOVL BX, ebx+12(FP)
	MOVL CX, ecx+16(FP)
	MOVL DX, edx+20(FP)
	RET

// The bytes of each of four words, turned around.
DATA flip<>+0(SB)/8, $0x0405060700010203
DATA flip<>+8(SB)/8, $0x0c0d0e0f08090a0b
GLOBL flip<>(SB), RODATA|NOPTR, $16

// The round constants (FIPS 180-4 section 4.2.2), two a line, the first one on the right.
DATA k<>+0(SB)/8, $0x71374491428a2f98
DATA k<>+8(SB)/8, $0xe9b5dba5b5c0fbcf
DATA k<>+16(SB)/8, $0x59f111f13956c25b
DATA k<>+24(SB)/8, $0xab1c5ed5923f82a4
DATA k<>+32(SB)/8, $0x12835b01d807aa98
DATA k<>+40(SB)/8, $0x550c7dc3243185be
DATA k<>+48(SB)/8, $0x80deb1fe72be5d74
DATA k<>+56(SB)/8, $0xc19bf1749bdc06a7
DATA k<>+64(SB)/8, $0xefbe4786e49b69c1
DATA k<>+72(SB)/8, $0x240ca1cc0fc19dc6
DATA k<>+80(SB)/8, $0x4a7484aa2de92c6f
DATA k<>+88(SB)/8, $0x76f988da5cb0a9dc
DATA k<>+96(SB)/8, $0xa831c66d983e5152
DATA k<>+104(SB)/8, $0xbf597fc7b00327c8
DATA k<>+112(SB)/8, $0xd5a79147c6e00bf3
DATA k<>+120(SB)/8, $0x1429296706ca6351
DATA k<>+128(SB)/8, $0x2e1b213827b70a85
DATA k<>+136(SB)/8, $0x53380d134d2c6dfc
DATA k<>+144(SB)/8, $0x766a0abb650a7354
DATA k<>+152(SB)/8, $0x92722c8581c2c92e
DATA k<>+160(SB)/8, $0xa81a664ba2bfe8a1
DATA k<>+168(SB)/8, $0xc76c51a3c24b8b70
DATA k<>+176(SB)/8, $0xd6990624d192e819
DATA k<>+184(SB)/8, $0x106aa070f40e3585
DATA k<>+192(SB)/8, $0x1e376c0819a4c116
DATA k<>+200(SB)/8, $0x34b0bcb52748774c
DATA k<>+208(SB)/8, $0x4ed8aa4a391c0cb3
DATA k<>+216(SB)/8, $0x682e6ff35b9cca4f
DATA k<>+224(SB)/8, $0x78a5636f748f82ee
DATA k<>+232(SB)/8, $0x8cc7020884c87814
DATA k<>+240(SB)/8, $0xa4506ceb90befffa
DATA k<>+248(SB)/8, $0xc67178f2bef9a3f7
GLOBL k<>(SB), RODATA|NOPTR, $256
