// func kernel6x16(k int64, a *float32, rs, cs int64, b *float32, c *float32, ldc int64, alpha float32, add int64)
//
// C [6, 16] = alpha·A·B, or += when add is not 0. A's element (i, x) is a[i·rs + x·cs], with rs and cs
// in bytes; B is packed, 16 floats for each x; rows of C are ldc bytes apart. Needs AVX2 and FMA.
//
// Y4 to Y15 hold C, two registers a row; Y0 and Y1 a row of B, Y2 and Y3 numbers of A.

#include "textflag.h"

#define ROW(address, lo, hi, tmp) \
	VBROADCASTSS address, tmp \
	VFMADD231PS  Y0, tmp, lo  \
	VFMADD231PS  Y1, tmp, hi

#define STORE(lo, hi) \
	VMULPS  Y0, lo, lo    \
	VMULPS  Y0, hi, hi    \
	VMOVUPS lo, (DI)      \
	VMOVUPS hi, 32(DI)    \
	ADDQ    R10, DI

#define ADD(lo, hi) \
	VFMADD213PS (DI), Y0, lo   \
	VFMADD213PS 32(DI), Y0, hi \
	VMOVUPS lo, (DI)           \
	VMOVUPS hi, 32(DI)         \
	ADDQ    R10, DI

TEXT ·kernel6x16(SB), NOSPLIT, $0-72
	MOVQ k+0(FP), CX
	MOVQ a+8(FP), AX
	MOVQ rs+16(FP), R8
	MOVQ cs+24(FP), R9
	MOVQ b+32(FP), BX
	MOVQ c+40(FP), DI
	MOVQ ldc+48(FP), R10

	// DX is row 3 of A.
	LEAQ (AX)(R8*2), DX
	ADDQ R8, DX

	VXORPS Y4, Y4, Y4
	VXORPS Y5, Y5, Y5
	VXORPS Y6, Y6, Y6
	VXORPS Y7, Y7, Y7
	VXORPS Y8, Y8, Y8
	VXORPS Y9, Y9, Y9
	VXORPS Y10, Y10, Y10
	VXORPS Y11, Y11, Y11
	VXORPS Y12, Y12, Y12
	VXORPS Y13, Y13, Y13
	VXORPS Y14, Y14, Y14
	VXORPS Y15, Y15, Y15

loop:
	VMOVUPS (BX), Y0
	VMOVUPS 32(BX), Y1
	ROW((AX), Y4, Y5, Y2)
	ROW((AX)(R8*1), Y6, Y7, Y3)
	ROW((AX)(R8*2), Y8, Y9, Y2)
	ROW((DX), Y10, Y11, Y3)
	ROW((DX)(R8*1), Y12, Y13, Y2)
	ROW((DX)(R8*2), Y14, Y15, Y3)
	ADDQ R9, AX
	ADDQ R9, DX
	ADDQ $64, BX
	DECQ CX
	JNZ  loop

	VBROADCASTSS alpha+56(FP), Y0
	CMPQ add+64(FP), $0
	JNE  accumulate
	STORE(Y4, Y5)
	STORE(Y6, Y7)
	STORE(Y8, Y9)
	STORE(Y10, Y11)
	STORE(Y12, Y13)
	STORE(Y14, Y15)
	VZEROUPPER
	RET

accumulate:
	ADD(Y4, Y5)
	ADD(Y6, Y7)
	ADD(Y8, Y9)
	ADD(Y10, Y11)
	ADD(Y12, Y13)
	ADD(Y14, Y15)
	VZEROUPPER
	RET
