// Constants of Philox4x32-10 (Salmon et al. 2011, section 3.3), shared by its scalar and vector
// forms.
#ifndef SR_KERNELS_PHILOX_H
#define SR_KERNELS_PHILOX_H

#define PHILOX_ROUNDS 10
#define PHILOX_M0 0xD2511F53u // multipliers of the two halves
#define PHILOX_M1 0xCD9E8D57u
#define PHILOX_W0 0x9E3779B9u // Weyl increments of the key: the golden ratio
#define PHILOX_W1 0xBB67AE85u // and sqrt(3) - 1

#endif
