// The Legendre part of a spherical harmonic transform of spin 0, 1, 2, 3, ..., and its transpose.
//
// With p = (+s)lambda_lm and n = (-1)^s (-s)lambda_lm, the theta parts of the spin-weighted harmonics (Goldberg et al.
// 1967), and e^{im phi} taken out, a field sf = -sum (G + iC) sY_lm has for its real and imaginary part
//     q_m = -1/2 sum_l [p (G + iC) + n (G - iC)],     u_m = i/2 sum_l [p (G + iC) - n (G - iC)].
// For spin 0 the leg is sum_l a lambda. Both p and n are orthonormal polynomials times a weight, so that
//     x f_l = E_{l+1} f_{l+1} + F_l f_l + E_l f_{l-1},   x = cos(theta),   F_l = -+ m s / (l (l + 1)),
//     E_l = sqrt[(l^2 - m^2)(l^2 - s^2) / (4 l^2 - 1)] / l
// (Varshalovich et al. 1988, 4.8.2, times sqrt[(2l + 1)/4 pi]), from l0 = max(m, s) upwards, the stable way, where
//     f_l0 = +- K sin(theta)^(l0 - k) (1 -+ x)^k,   k = min(m, s).
// Writing f_l = c_l g_l with c_{l+1} = c_{l-1} E_l / E_{l+1} leaves g_{l+1} = alpha_l (x - F_l) g_l - g_{l-1}: two
// operations a step. At pi - theta, p and n change places and gain (-1)^{l + m + s}: a ring and its mirror image share
// one recursion. Near the poles f_l0 falls to 1e-20000: a number is held as g 2^(512 scale), and one whose scale is
// below zero is smaller than 2^-80 and counts as zero.
//
// Next to a pole the rounding of x alone costs l 1e-16 / theta of the angle l theta. There the kernels named "polar" use
// y = 1 - x = 2 sin(theta / 2)^2 instead, and the solution h of the recursion at x = 1, known in closed form: f = h g
// leaves g constant there, and d_l = h_l (g_l - g_{l-1}) no cancellation (as Reinsch's form of Clenshaw's sum has it):
//     d_{l+1} = kappa_l d_l - y f_l / E_{l+1},   f_{l+1} = r_l f_l + d_{l+1},   r_l = h_{l+1} / h_l,
// with M = max(m, s), k = min(m, s) with the sign of F, u = l + 1,
//     kappa_l = (l - M)(l + k) / [l (2l + 1) E_{l+1}],
//     r_l^2 = (2u + 1)(u + M)(u - k) / [(2u - 1)(u - M)(u + k)].

constexpr int THREADS = 128;  // of a block
constexpr int TILE = 128;     // multipoles whose coefficients are held in shared memory at a time
constexpr int SPAN = 16;      // multipoles between two looks at the scale: they grow by less than 2^100 in these
constexpr int ROWS = 32;      // sums over rings that the transpose takes at a time
constexpr int PADDED = THREADS + 4;  // so that the threads that sum a row meet no bank conflicts

constexpr double BIG = 1.157920892373162e77, STEP_DOWN = 7.458340731200207e-155;  // 2^256, 2^-512

// One solution of the recursion: at even and at odd steps from l0, which take turns; in polar kernels f and d.
struct Chain {
    double even, odd;
    int scale;
    __device__ bool live() const { return scale == 0; }
};

// Multiply the scaled number (mantissa, exponent of 2) by base^n, by repeated squaring.
__device__ inline void times_power(double& mantissa, int& exponent, double base, int n) {
    int base_exponent, shift;
    base = frexp(base, &base_exponent);
    for (; n > 0; n >>= 1) {
        if (n & 1) {
            mantissa = frexp(mantissa * base, &shift);
            exponent += base_exponent + shift;
        }
        base = frexp(base * base, &shift);
        base_exponent = 2 * base_exponent + shift;
    }
}

__device__ inline Chain start_chain(double prefactor, double sine, int n, double side, int k) {
    int exponent;
    double mantissa = frexp(prefactor, &exponent);
    times_power(mantissa, exponent, sine, n);
    times_power(mantissa, exponent, side, k);
    if (mantissa == 0.0) return {0.0, 0.0, -1};  // at the pole itself, and it stays there
    const int scale = exponent < -256 ? -((255 - exponent) / 512) : 0;
    return {ldexp(mantissa, exponent - 512 * scale), 0.0, scale};
}

// True where the chain comes to life by it.
__device__ inline bool rescale(Chain& chain) {
    if (chain.scale == 0 || fmax(fabs(chain.even), fabs(chain.odd)) < BIG) return false;
    chain.even *= STEP_DOWN;
    chain.odd *= STEP_DOWN;
    return ++chain.scale == 0;
}

template <bool POLAR>
__device__ inline double value_of(const Chain& chain, int odd) {
    return !POLAR && odd ? chain.odd : chain.even;
}

// One step on, from an even or an odd multipole. `at` is its place in the block's table.
template <bool SPIN, bool POLAR>
__device__ inline void advance(Chain& p, Chain& n, const double* at, double x, int odd) {
    if (POLAR) {
        const double factor = at[0] * x;  // y / E
        p.odd = fma(-factor, p.even, at[TILE] * p.odd);
        p.even = fma(at[2 * TILE], p.even, p.odd);
        if (SPIN) {
            n.odd = fma(-factor, n.even, at[3 * TILE] * n.odd);
            n.even = fma(at[4 * TILE], n.even, n.odd);
        }
        return;
    }
    const double shift = SPIN ? at[TILE] : 0.0, forward = fma(at[0], x, shift);  // p has F < 0
    odd ? (p.even = fma(forward, p.odd, -p.even)) : (p.odd = fma(forward, p.even, -p.odd));
    if (SPIN) {
        const double backward = fma(at[0], x, -shift);
        odd ? (n.even = fma(backward, n.odd, -n.even)) : (n.odd = fma(backward, n.even, -n.odd));
    }
}

__device__ inline double coupling(double l, double m, double s) {  // E_l
    return sqrt((l - m) * (l + m) * (l - s) * (l + s) / ((2.0 * l - 1.0) * (2.0 * l + 1.0))) / l;
}

// Whether every harmonic of order m up to lmax is below 1e-17 at this ring. Beyond its turning point m = l sin(theta)
// a harmonic falls as exp(-(2 sqrt 2 / 3) d^1.5 / (l sin theta)^0.5), d = m - l sin(theta) (WKB; a spin shifts m by s).
__device__ inline bool out_of_reach(int m, int spin, int lmax, double sine) {
    const double width = lmax * sine;
    return m > width + spin + 13.0 * cbrt(width) + 25.0;
}

// Complex numbers in memory, in single or double precision; all arithmetic is done in double.
struct Numbers {
    void* data;
    bool single;
    __device__ double2 get(long long i) const {
        double2 value;
        if (single) {
            const float2 some = static_cast<const float2*>(data)[i];
            value.x = some.x, value.y = some.y;
        } else {
            value = static_cast<const double2*>(data)[i];
        }
        return value;
    }
    __device__ void set(long long i, double re, double im) const {
        if (single) {
            float2* some = static_cast<float2*>(data) + i;
            some->x = float(re), some->y = float(im);
        } else {
            double2* some = static_cast<double2*>(data) + i;
            some->x = re, some->y = im;
        }
    }
    __device__ void add(long long i, double re, double im) const {
        const double2 before = get(i);
        set(i, before.x + re, before.y + im);
    }
};

// Pairs of rings as the host sorts them: from the poles to the equator.
struct Rings {
    int npair, nring;
    const double *cosine, *sine;  // of the northern one, cosine >= 0
    const int *north, *south;     // indices of the two, -1 where there is none
};

// Orders m as the host lists them, and the recursion of each; its tables start at row[i] with l = max(m, s).
struct Orders {
    int lmax, spin, count;
    const int* m;
    const double* start;   // K, with the sign of p
    const long long* row;
    const double *alpha, *beta, *norm;  // alpha_l, alpha_l |F_l|, c_l
    const long long* mstart;  // where a_lm of l = 0 is or would be
    long long nalm;           // length of a component
};

// Numbers of a step in a block's table: alpha, alpha |F|; or 1/E, then kappa and r of p, and of n.
template <bool SPIN, bool POLAR>
constexpr int WIDTH = POLAR ? (SPIN ? 5 : 3) : (SPIN ? 2 : 1);

// Fill the place of multipole l in the table; zeros above lmax.
template <bool SPIN, bool POLAR>
__device__ inline void fill(double* at, const Orders& o, int order, int l) {
    for (int j = 0; j < WIDTH<SPIN, POLAR>; ++j) at[j * TILE] = 0.0;
    if (l > o.lmax) return;
    const int m = o.m[order], l0 = max(m, o.spin);
    if (!POLAR) {
        at[0] = o.alpha[o.row[order] + l - l0];
        if (SPIN) at[TILE] = o.beta[o.row[order] + l - l0];
        return;
    }
    const double M = l0, k = min(m, o.spin), here = l, u = l + 1.0, inverse = 1.0 / coupling(u, M, k);
    const double common = l == 0 ? 0.0 : (here - M) * inverse / (here * (2.0 * here + 1.0));
    const double growth = (2.0 * u + 1.0) * (u + M) / ((2.0 * u - 1.0) * (u - M));
    at[0] = inverse;
    at[TILE] = common * (here - k);
    at[2 * TILE] = sqrt(growth * (u + k) / (u - k));
    if (SPIN) {
        at[3 * TILE] = common * (here + k);
        at[4 * TILE] = sqrt(growth * (u - k) / (u + k));
    }
}

template <bool SPIN, bool POLAR>
__device__ inline void start_pair(const Orders& o, int order, const Rings& rings, int pair, Chain& p, Chain& n,
                                  double& x) {  // x becomes y in polar kernels
    const int m = o.m[order], k = min(m, o.spin), power = max(m, o.spin) - k;
    if (pair >= rings.npair) {  // no such pair: a chain of zeros
        x = 0.0;
        p = n = {0.0, 0.0, -1};
        return;
    }
    const double cosine = rings.cosine[pair], sine = rings.sine[pair], prefactor = o.start[order];
    const double y = sine * sine / (1.0 + cosine);
    x = POLAR ? y : cosine;
    p = start_chain(prefactor, sine, power, y, k);
    // (-1)^s (-s)lambda starts with (-1)^(m + s) where m >= s, and with 1 below
    const bool flip = SPIN && (m >= o.spin ? (o.spin & 1) : (m & 1));
    if (SPIN) n = start_chain(flip ? -prefactor : prefactor, sine, power, 1.0 + cosine, k);
}

__device__ inline double signed_unit(int parity) { return parity & 1 ? -1.0 : 1.0; }

// Sums of one pair of rings. Spin 0 and pure gradients: even and odd multipoles apart, [p, n][even, odd].
// With a curl: sum p(G + iC), sum n(G - iC), and both with p and n exchanged and alternating signs.
template <bool SPIN>
struct Sums {
    double re[SPIN ? 4 : 2], im[SPIN ? 4 : 2];
};

__device__ inline void add(double& re, double& im, double value, double a, double b) {
    re = fma(value, a, re);
    im = fma(value, b, im);
}

// SPAN multipoles of K pairs. ACTIVE: 0, no chain has come to life; 1, some have; 2, all have.
template <bool SPIN, bool CURL, bool POLAR, int K, int ACTIVE>
__device__ inline void synthesise_span(const double* table, const double* coefficient, const double* x, Chain* p, Chain* n,
                                       Sums<SPIN>* sums) {
#pragma unroll 1
    for (int i = 0; i < SPAN; i += 2) {
#pragma unroll
        for (int odd = 0; odd < 2; ++odd) {
            const double c0 = coefficient[i + odd], c1 = coefficient[TILE + i + odd];
            const double c2 = CURL ? coefficient[2 * TILE + i + odd] : 0.0;
            const double c3 = CURL ? coefficient[3 * TILE + i + odd] : 0.0;
#pragma unroll
            for (int k = 0; k < K; ++k) {
                if (ACTIVE) {
                    double here = value_of<POLAR>(p[k], odd), there = SPIN ? value_of<POLAR>(n[k], odd) : 0.0;
                    if (ACTIVE == 1) {
                        here = p[k].live() ? here : 0.0;
                        if (SPIN) there = n[k].live() ? there : 0.0;
                    }
                    if (CURL) {
                        add(sums[k].re[0], sums[k].im[0], here, c0, c1);
                        add(sums[k].re[1], sums[k].im[1], there, c2, c3);
                        add(sums[k].re[2], sums[k].im[2], odd ? -there : there, c0, c1);
                        add(sums[k].re[3], sums[k].im[3], odd ? -here : here, c2, c3);
                    } else {
                        add(sums[k].re[odd], sums[k].im[odd], here, c0, c1);
                        if (SPIN) add(sums[k].re[2 + odd], sums[k].im[2 + odd], there, c0, c1);
                    }
                }
                advance<SPIN, POLAR>(p[k], n[k], table + i + odd, x[k], odd);
            }
        }
    }
}

// A block has one order m and THREADS * K neighbouring pairs of rings.
template <bool SPIN, bool CURL, bool POLAR, int K>
__device__ inline void synthesise(const Orders& o, const Rings& rings, Numbers alm, Numbers leg) {
    __shared__ double table[WIDTH<SPIN, POLAR> * TILE], coefficient[(CURL ? 4 : 2) * TILE];
    const int order = blockIdx.x, m = o.m[order], first = blockIdx.y * THREADS * K, thread = threadIdx.x;
    const int l0 = max(m, o.spin), steps = o.lmax - l0 + 1;
    const int last = min(first + THREADS * K, rings.npair) - 1;  // the nearest to the equator
    const bool nothing = out_of_reach(m, o.spin, o.lmax, rings.sine[last]);

    Chain p[K], n[K];
    double x[K];
    Sums<SPIN> sums[K];
#pragma unroll
    for (int k = 0; k < K; ++k) {
        start_pair<SPIN, POLAR>(o, order, rings, first + k * THREADS + thread, p[k], n[k], x[k]);
        for (int j = 0; j < (SPIN ? 4 : 2); ++j) sums[k].re[j] = sums[k].im[j] = 0.0;
    }
    for (int begin = 0; begin < (nothing ? 0 : steps); begin += TILE) {
        __syncthreads();
        const int i = begin + thread;
        const bool inside = i < steps;
        const double norm = POLAR ? 1.0 : inside ? o.norm[o.row[order] + i] : 0.0;
        const double2 none = {0.0, 0.0}, g = inside ? alm.get(o.mstart[order] + l0 + i) : none;
        fill<SPIN, POLAR>(table + thread, o, order, l0 + i);
        if (CURL) {
            const double2 c = inside ? alm.get(o.nalm + o.mstart[order] + l0 + i) : none;
            coefficient[thread] = norm * (g.x - c.y);
            coefficient[TILE + thread] = norm * (g.y + c.x);
            coefficient[2 * TILE + thread] = norm * (g.x + c.y);
            coefficient[3 * TILE + thread] = norm * (g.y - c.x);
        } else {
            coefficient[thread] = norm * g.x;
            coefficient[TILE + thread] = norm * g.y;
        }
        __syncthreads();
        const int end = min(TILE, steps - begin);
        for (int j = 0; j < end; j += SPAN) {
            bool some = false, all = true;
#pragma unroll
            for (int k = 0; k < K; ++k) {
                rescale(p[k]);
                if (SPIN) rescale(n[k]);
                some |= p[k].live() || (SPIN && n[k].live());
                all &= p[k].live() && (!SPIN || n[k].live());
            }
            if (all)
                synthesise_span<SPIN, CURL, POLAR, K, 2>(table + j, coefficient + j, x, p, n, sums);
            else if (some)
                synthesise_span<SPIN, CURL, POLAR, K, 1>(table + j, coefficient + j, x, p, n, sums);
            else
                synthesise_span<SPIN, CURL, POLAR, K, 0>(table + j, coefficient + j, x, p, n, sums);
        }
    }
    const double mirror = signed_unit(l0 + m + o.spin);
    const long long component = (long long)rings.nring * o.count;
#pragma unroll
    for (int k = 0; k < K; ++k) {
        const int pair = first + k * THREADS + thread;
        if (pair >= rings.npair) continue;
        const Sums<SPIN>& s = sums[k];
        for (int side = 0; side < 2; ++side) {
            const int ring = side ? rings.south[pair] : rings.north[pair];
            if (ring < 0) continue;
            const long long at = (long long)ring * o.count + order;
            const double sign = side ? -1.0 : 1.0, scale = side ? mirror : 1.0;
            if (!SPIN) {
                leg.set(at, scale * (s.re[0] + sign * s.re[1]), scale * (s.im[0] + sign * s.im[1]));
                continue;
            }
            double are, aim, bre, bim;  // sum p (G + iC) and sum n (G - iC) of this ring
            if (CURL) {
                const int j = side ? 2 : 0;
                are = scale * s.re[j], aim = scale * s.im[j], bre = scale * s.re[j + 1], bim = scale * s.im[j + 1];
            } else {
                const int j = side ? 2 : 0, h = 2 - j;
                are = scale * (s.re[j] + sign * s.re[j + 1]), aim = scale * (s.im[j] + sign * s.im[j + 1]);
                bre = scale * (s.re[h] + sign * s.re[h + 1]), bim = scale * (s.im[h] + sign * s.im[h + 1]);
            }
            leg.set(at, -0.5 * (are + bre), -0.5 * (aim + bim));
            leg.set(component + at, -0.5 * (aim - bim), 0.5 * (are - bre));
        }
    }
}

// What a pair of rings gives to the sums of the transpose, for p and for n: at even and odd multipoles, or, with a curl,
// from the northern and the southern ring.
template <bool SPIN>
struct Weights {
    double re[SPIN ? 4 : 2], im[SPIN ? 4 : 2];
};

// The weights of p (which = 0) or of n (1). They are zero until the chain comes to life, so that nothing need ask.
template <bool SPIN, bool CURL>
__device__ inline void load_weights(const Orders& o, int order, const Rings& rings, int pair, Numbers leg,
                                    int which, Weights<SPIN>& weights) {
    const int m = o.m[order], parity = max(m, o.spin) + m + o.spin;
    const long long component = (long long)rings.nring * o.count;
    double re[2], im[2];  // of the ring where this chain is p itself, north for p, and of that where it stands for n
#pragma unroll
    for (int side = 0; side < 2; ++side) {
        const int ring = side ? rings.south[pair] : rings.north[pair];
        re[side] = im[side] = 0.0;
        if (ring < 0) continue;
        const double2 q = leg.get((long long)ring * o.count + order);
        re[side] = q.x, im[side] = q.y;
        if (SPIN) {  // q + iu where p multiplies, q - iu where n does
            const double2 u = leg.get(component + (long long)ring * o.count + order);
            const double sign = (side ^ which) ? -1.0 : 1.0;
            re[side] -= sign * u.y, im[side] += sign * u.x;
        }
    }
    const double mirror = signed_unit(parity);
    if (CURL) {
        weights.re[2 * which] = re[0], weights.im[2 * which] = im[0];
        weights.re[2 * which + 1] = mirror * re[1], weights.im[2 * which + 1] = mirror * im[1];
    } else {
        weights.re[2 * which] = re[0] + mirror * re[1], weights.im[2 * which] = im[0] + mirror * im[1];
        weights.re[2 * which + 1] = re[0] - mirror * re[1], weights.im[2 * which + 1] = im[0] - mirror * im[1];
    }
}

// One order m a block, which goes through the rings in groups and adds to a_lm: no two blocks write to one place, and
// sums come out the same each time.
template <bool SPIN, bool CURL, bool POLAR, int K>
__device__ inline void transpose(const Orders& o, const Rings& rings, Numbers leg, Numbers alm) {
    constexpr int VALUES = CURL ? 4 : 2, LENGTH = ROWS / VALUES;  // sums at one l; multipoles that are summed together
    __shared__ double table[WIDTH<SPIN, POLAR> * TILE], part[ROWS * PADDED], quarter[THREADS];
    const int order = blockIdx.x, m = o.m[order], thread = threadIdx.x;
    const int l0 = max(m, o.spin), steps = o.lmax - l0 + 1;

    for (int first = 0; first < rings.npair; first += THREADS * K) {
        const int last = min(first + THREADS * K, rings.npair) - 1;
        if (out_of_reach(m, o.spin, o.lmax, rings.sine[last])) continue;
        Chain p[K], n[K];
        double x[K];
        Weights<SPIN> weights[K];
#pragma unroll
        for (int k = 0; k < K; ++k) {
            const int pair = first + k * THREADS + thread;
            start_pair<SPIN, POLAR>(o, order, rings, pair, p[k], n[k], x[k]);
            for (int j = 0; j < (SPIN ? 4 : 2); ++j) weights[k].re[j] = weights[k].im[j] = 0.0;
            if (p[k].live()) load_weights<SPIN, CURL>(o, order, rings, pair, leg, 0, weights[k]);
            if (SPIN && n[k].live()) load_weights<SPIN, CURL>(o, order, rings, pair, leg, 1, weights[k]);
        }
        for (int begin = 0; begin < steps; begin += TILE) {
            __syncthreads();
            fill<SPIN, POLAR>(table + thread, o, order, l0 + begin + thread);
            const int end = min(TILE, steps - begin);
            for (int j = 0; j < end; j += LENGTH) {
                bool some = false;
#pragma unroll
                for (int k = 0; k < K; ++k) {
                    const int pair = first + k * THREADS + thread;
                    if (rescale(p[k])) load_weights<SPIN, CURL>(o, order, rings, pair, leg, 0, weights[k]);
                    if (SPIN && rescale(n[k])) load_weights<SPIN, CURL>(o, order, rings, pair, leg, 1, weights[k]);
                    some |= p[k].live() || (SPIN && n[k].live());
                }
                const bool active = __syncthreads_or(some);
#pragma unroll 1
                for (int i = 0; i < LENGTH; i += 2) {
#pragma unroll
                    for (int odd = 0; odd < 2; ++odd) {
                        double sum[4] = {0.0, 0.0, 0.0, 0.0};
#pragma unroll
                        for (int k = 0; k < K; ++k) {
                            const Weights<SPIN>& w = weights[k];
                            const double here = value_of<POLAR>(p[k], odd);
                            const double there = SPIN ? value_of<POLAR>(n[k], odd) : 0.0;
                            if (CURL) {  // sum[0], [1]: p in the north, n in the south
                                add(sum[0], sum[1], here, w.re[0], w.im[0]);
                                add(sum[0], sum[1], odd ? -there : there, w.re[3], w.im[3]);
                                add(sum[2], sum[3], there, w.re[2], w.im[2]);
                                add(sum[2], sum[3], odd ? -here : here, w.re[1], w.im[1]);
                            } else {
                                add(sum[0], sum[1], here, w.re[odd], w.im[odd]);
                                if (SPIN) add(sum[0], sum[1], there, w.re[2 + odd], w.im[2 + odd]);
                            }
                            advance<SPIN, POLAR>(p[k], n[k], table + j + i + odd, x[k], odd);
                        }
                        if (active)
                            for (int v = 0; v < VALUES; ++v) part[((i + odd) * VALUES + v) * PADDED + thread] = sum[v];
                    }
                }
                if (!active) continue;  // the same for the whole block
                __syncthreads();
                const int at = thread / 4 * PADDED + thread % 4;
                double total = 0.0;
                for (int r = 0; r < THREADS; r += 4) total += part[at + r];
                quarter[thread] = total;
                __syncthreads();
                const int i = begin + j + thread;
                if (thread >= LENGTH || i >= steps) continue;
                double value[4];
                for (int v = 0; v < VALUES; ++v) {
                    const double* q = quarter + (thread * VALUES + v) * 4;
                    value[v] = (POLAR ? 1.0 : o.norm[o.row[order] + i]) * ((q[0] + q[1]) + (q[2] + q[3]));
                }
                const long long here = o.mstart[order] + l0 + i;
                if (CURL) {
                    alm.add(here, -0.5 * (value[0] + value[2]), -0.5 * (value[1] + value[3]));
                    alm.add(o.nalm + here, -0.5 * (value[1] - value[3]), 0.5 * (value[0] - value[2]));
                } else {
                    const double scale = SPIN ? -0.5 : 1.0;
                    alm.add(here, scale * value[0], scale * value[1]);
                }
            }
        }
    }
}

#define ORDERS                                                                                                       \
    int lmax, int spin, int count, const int *m, const double *start, const long long *row, const double *alpha,     \
        const double *beta, const double *norm, const long long *mstart, long long nalm
#define RINGS int npair, int nring, const double *cosine, const double *sine, const int *north, const int *south
#define TRANSFORM(NAME, FUNCTION, SPIN, CURL, POLAR, K)                                                              \
    extern "C" __global__ void __launch_bounds__(THREADS) NAME(ORDERS, RINGS, int single, void* from, void* to) {    \
        FUNCTION<SPIN, CURL, POLAR, K>({lmax, spin, count, m, start, row, alpha, beta, norm, mstart, nalm},          \
                                       {npair, nring, cosine, sine, north, south}, {from, single != 0},              \
                                       {to, single != 0});                                                           \
    }

// The last argument: pairs of rings that a thread carries, as many as registers allow.
TRANSFORM(synthesis_scalar_ordinary, synthesise, false, false, false, 4)
TRANSFORM(synthesis_scalar_polar, synthesise, false, false, true, 4)
TRANSFORM(synthesis_gradient_ordinary, synthesise, true, false, false, 2)
TRANSFORM(synthesis_gradient_polar, synthesise, true, false, true, 2)
TRANSFORM(synthesis_spin_ordinary, synthesise, true, true, false, 2)
TRANSFORM(synthesis_spin_polar, synthesise, true, true, true, 2)
TRANSFORM(adjoint_scalar_ordinary, transpose, false, false, false, 8)
TRANSFORM(adjoint_scalar_polar, transpose, false, false, true, 8)
TRANSFORM(adjoint_gradient_ordinary, transpose, true, false, false, 4)
TRANSFORM(adjoint_gradient_polar, transpose, true, false, true, 3)
TRANSFORM(adjoint_spin_ordinary, transpose, true, true, false, 4)
TRANSFORM(adjoint_spin_polar, transpose, true, true, true, 4)

// The tables of the recursion, one thread an order.
extern "C" __global__ void recursion_tables(int lmax, int spin, int count, const int* m, const long long* row,
                                            double* alpha, double* beta, double* norm) {
    const int order = blockIdx.x * blockDim.x + threadIdx.x;
    if (order >= count) return;
    const double mm = m[order], s = spin;
    const int l0 = max(m[order], spin);
    const long long at = row[order];
    double before = 1.0, here = 1.0, below = 1.0;  // c_{l-1}, c_l, E_l; nothing comes before l0
    for (int l = l0; l <= lmax; ++l) {
        const double u = l + 1.0;
        const double above = coupling(u, mm, s);
        const double next = l == l0 ? 1.0 : before * below / above;
        const double factor = here / (above * next);
        alpha[at + l - l0] = factor;
        beta[at + l - l0] = l == 0 ? 0.0 : factor * mm * s / (double(l) * (l + 1.0));
        norm[at + l - l0] = here;
        before = here, here = next, below = above;
    }
}
