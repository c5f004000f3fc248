// The remap's work that is done pixel by pixel, each in one pass over memory. All angles in radians, in double precision.
//
// Every kernel takes the number of elements first and strides over them by the whole launch, so that any launch will do.

#define EACH(i, count)                                                                         \
    for (long long i = (long long)blockIdx.x * blockDim.x + threadIdx.x; i < (count);          \
         i += (long long)gridDim.x * blockDim.x)

static __device__ int ring_of(long long pixel, const long long *start, int rings)
{
    int low = 0, high = rings - 1;
    while (low < high) {
        const int middle = (low + high + 1) / 2;
        if (start[middle] <= pixel) low = middle;
        else high = middle - 1;
    }
    return low;
}

// Colatitude and longitude of pixels of equidistant rings: start, theta, phi0 and step are tables over the rings.
extern "C" __global__ void pixel_centres(
    long long count, int rings, const long long *start, const double *theta, const double *phi0, const double *step,
    double *out_theta, double *out_phi)
{
    EACH(i, count) {
        const int ring = ring_of(i, start, rings);
        out_theta[i] = theta[ring];
        out_phi[i] = phi0[ring] + (double)(i - start[ring]) * step[ring];
    }
}

// Walk |alpha| along the great circle that leaves the pixel in the direction of alpha = (e_theta, e_phi) components.
//
// In axes turned to the pixel's longitude n = (sin t, 0, cos t), e_theta = (cos t, 0, -sin t), e_phi = (0, 1, 0), and
// n' = n cos a + (alpha / a) sin a. The angle gamma is that of the carried e_theta in the axes at the longitude that
// was *rounded*: next to a pole, where longitude is ill-defined, position and gamma then err together, not apart.
extern "C" __global__ void deflect(
    long long count, int rings, const long long *start, const double *theta, const double *phi0, const double *step,
    const double *alpha, double *out_theta, double *out_phi, double *gamma)
{
    const double pi = 3.14159265358979323846;
    EACH(i, count) {
        const int ring = ring_of(i, start, rings);
        const double phi = phi0[ring] + (double)(i - start[ring]) * step[ring];
        const double south = alpha[2 * i], east = alpha[2 * i + 1];
        const double a = hypot(south, east);
        double st, ct, sa, ca;
        sincos(theta[ring], &st, &ct);
        sincos(a, &sa, &ca);
        const double sinc = a > 0. ? sa / a : 1.;
        const double x = st * ca + ct * sinc * south;
        const double y = sinc * east;
        const double z = ct * ca - st * sinc * south;
        const double r = hypot(x, y);
        out_theta[i] = atan2(r, z);

        double there = phi + atan2(y, x);
        if (there < 0.) there += 2. * pi;
        if (there >= 2. * pi) there -= 2. * pi;
        if (there < 0.) there = 0.;
        out_phi[i] = there;

        if (gamma) {
            // e_theta carried along: only its part along the geodesic turns, d -> d cos a - n sin a
            const double c = a > 0. ? south / a : 1., s = a > 0. ? east / a : 0.;
            const double half = sin(0.5 * a);
            const double along = -2. * half * half * c, down = -sa * c;
            const double vx = ct + along * c * ct + down * st;
            const double vy = along * s;
            const double vz = -st - along * c * st + down * ct;
            double sd, cd;
            sincos(there - phi, &sd, &cd);
            const double norm = hypot(r, z);
            const double e_phi = vy * cd - vx * sd;
            const double e_theta = (z * (vx * cd + vy * sd) - r * vz) / norm;
            gamma[i] = -atan2(e_phi, e_theta);
        }
    }
}

// Multiply by exp(i (spin gamma + shift phi)) and part into two rows; gamma, phi and the second row may be left out.
template <typename In, typename Out>
static __device__ void unpack(
    long long count, const In *values, const double *gamma, int spin, const double *phi, int shift, Out *first,
    Out *second)
{
    EACH(i, count) {
        double re = values[2 * i], im = values[2 * i + 1];
        if (gamma || phi) {
            double s, c;
            sincos((gamma ? spin * gamma[i] : 0.) + (phi ? shift * phi[i] : 0.), &s, &c);
            const double turned = re * c - im * s;
            im = re * s + im * c;
            re = turned;
        }
        first[i] = (Out)re;
        if (second) second[i] = (Out)im;
    }
}

#define UNPACK(name, In, Out)                                                                                  \
    extern "C" __global__ void name(                                                                           \
        long long count, const In *values, const double *gamma, int spin, const double *phi, int shift,        \
        Out *first, Out *second)                                                                               \
    {                                                                                                          \
        unpack<In, Out>(count, values, gamma, spin, phi, shift, first, second);                                \
    }

UNPACK(unpack_double_double, double, double)
UNPACK(unpack_double_single, double, float)
UNPACK(unpack_single_double, float, double)
UNPACK(unpack_single_single, float, float)
