//go:build !purego

package sha256x2

// blocks goes on from the states h[0] and h[1] with n blocks of a and as many of b.
//
//go:noescape
func blocks(h *[2][Size]byte, a, b *byte, n int)

// cpuid is the instruction of that name.
func cpuid(leaf, sub uint32) (eax, ebx, ecx, edx uint32)

// supported is whether the processor has every instruction that blocks is made of.
func supported() bool {
	const (
		ssse3 = 1 << 9  // leaf 1, ecx
		sse41 = 1 << 19 // leaf 1, ecx
		sha   = 1 << 29 // leaf 7, ebx
	)
	if last, _, _, _ := cpuid(0, 0); last < 7 {
		return false
	}
	_, _, one, _ := cpuid(1, 0)
	_, seven, _, _ := cpuid(7, 0)
	return one&ssse3 != 0 && one&sse41 != 0 && seven&sha != 0
}
