#include "resample.hpp"

#include <algorithm>
#include <cmath>
#include <functional>

#include "error.hpp"

namespace sample {
namespace {

using Filter = std::function<double(double)>;

struct Kernel {
    double radius;  // in source pixels; the weight is zero from there on
    Filter weight;
};

// Keys' cubic convolution (1981) with a = -0.5, multiplied in Pillow's order.
double pillow_cubic(double x) {
    constexpr double a = -0.5;
    x = std::fabs(x);
    if (x < 1.0) {
        return ((a + 2.0) * x - (a + 3.0)) * x * x + 1;
    }
    return x < 2.0 ? (((x - 5) * x + 8) * x - 4) * a : 0.0;
}

// The same with a free `a`, multiplied in the order of alula/vision/resample.py.
Filter cubic(double a) {
    return [a](double x) {
        x = std::fabs(x);
        if (x <= 1.0) {
            return ((a + 2.0) * x - (a + 3.0)) * (x * x) + 1;
        }
        return x < 2.0 ? a * (((x - 5) * x + 8) * x - 4) : 0.0;
    };
}

double linear(double x) { return std::max(0.0, 1.0 - std::fabs(x)); }

double sinc(double x) {
    if (x == 0.0) {
        return 1.0;
    }
    x *= M_PI;
    return std::sin(x) / x;
}

double lanczos3(double x) { return -3.0 <= x && x < 3.0 ? sinc(x) * sinc(x / 3) : 0.0; }

Kernel kernel_named(const std::string& filter, const std::string& library, const Filter& bicubic) {
    if (filter == "bilinear") {
        return {1, linear};
    }
    if (filter == "bicubic") {
        return {2, bicubic};
    }
    if (filter == "lanczos" && library == "pillow") {
        return {3, lanczos3};
    }
    throw Error("resampling: expected nearest, bilinear, bicubic or lanczos, got " + filter + " of " + library);
}

uint8_t clipped(double value) { return static_cast<uint8_t>(std::min(255.0, std::max(0.0, value))); }

// Along one side: where the taps of each target pixel begin in the source, and their weights.
template <typename Weight>
struct Taps {
    std::vector<int> first;
    std::vector<std::vector<Weight>> weights;
};

constexpr int kPrecisionBits = 32 - 8 - 2;  // a byte, a sign and room for weights above 1: Pillow's choice

Taps<int> pillow_taps(int source, int target, const Kernel& kernel) {
    Taps<int> taps;
    const double scale = static_cast<double>(source) / target;
    const double widened = std::max(scale, 1.0);
    const double support = kernel.radius * widened;
    for (int index = 0; index < target; ++index) {
        const double centre = (index + 0.5) * scale;
        const int first = std::max(0, static_cast<int>(centre - support + 0.5));
        const int end = std::min(source, static_cast<int>(centre + support + 0.5));
        std::vector<double> weights;
        double sum = 0.0;
        for (int x = first; x < end; ++x) {
            weights.push_back(kernel.weight((x - centre + 0.5) * (1.0 / widened)));
            sum += weights.back();
        }
        std::vector<int> whole;
        for (double weight : weights) {
            const double scaled = (sum != 0.0 ? weight / sum : weight) * (1 << kPrecisionBits);
            whole.push_back(static_cast<int>(scaled + (scaled < 0 ? -0.5 : 0.5)));
        }
        taps.first.push_back(first);
        taps.weights.push_back(whole);
    }
    return taps;
}

uint8_t pillow_byte(int sum) { return static_cast<uint8_t>(std::min(255, std::max(0, sum >> kPrecisionBits))); }

Image columns_as_pillow(const Image& image, int width, const Kernel& kernel) {
    const Taps<int> taps = pillow_taps(image.width, width, kernel);
    Image result(image.height, width);
    for (int row = 0; row < image.height; ++row) {
        for (int column = 0; column < width; ++column) {
            const auto& weights = taps.weights[column];
            const uint8_t* source = image.at(row, taps.first[column]);
            int sums[kChannels] = {1 << (kPrecisionBits - 1), 1 << (kPrecisionBits - 1), 1 << (kPrecisionBits - 1)};
            for (int weight : weights) {
                for (int& sum : sums) {
                    sum += *source++ * weight;
                }
            }
            std::transform(sums, sums + kChannels, result.at(row, column), pillow_byte);
        }
    }
    return result;
}

Image rows_as_pillow(const Image& image, int height, const Kernel& kernel) {
    const Taps<int> taps = pillow_taps(image.height, height, kernel);
    Image result(height, image.width);
    const int bytes = image.width * kChannels;
    std::vector<int> sums(bytes);
    for (int row = 0; row < height; ++row) {
        std::fill(sums.begin(), sums.end(), 1 << (kPrecisionBits - 1));
        int source = taps.first[row];
        for (int weight : taps.weights[row]) {
            const uint8_t* pixels = image.at(source++, 0);
            for (int index = 0; index < bytes; ++index) {
                sums[index] += pixels[index] * weight;
            }
        }
        std::transform(sums.begin(), sums.end(), result.at(row, 0), pillow_byte);
    }
    return result;
}

// Pillow adds up the step from pixel to pixel, and so its rounding.
std::vector<int> pillow_nearest(int source, int target) {
    const double step = static_cast<double>(source) / target;
    std::vector<int> indices;
    for (double place = step * 0.5; static_cast<int>(indices.size()) < target; place += step) {
        indices.push_back(std::min(source - 1, static_cast<int>(place)));
    }
    return indices;
}

Image picked(const Image& image, const std::vector<int>& rows, const std::vector<int>& columns) {
    Image result(static_cast<int>(rows.size()), static_cast<int>(columns.size()));
    for (int row = 0; row < result.height; ++row) {
        for (int column = 0; column < result.width; ++column) {
            std::copy_n(image.at(rows[row], columns[column]), kChannels, result.at(row, column));
        }
    }
    return result;
}

std::vector<int> corners(int source, int target, int start, int count) {
    std::vector<int> indices;
    for (int index = start; index < start + count; ++index) {
        indices.push_back(static_cast<int>(static_cast<int64_t>(index) * source / target));
    }
    return indices;
}

// Unlike Pillow's: every tap, those beyond an edge repeat it (`opencv`) or weigh nothing.
struct PlainTaps {
    std::vector<std::vector<int>> indices;
    std::vector<std::vector<double>> weights;
};

PlainTaps plain_taps(int source, int target, int start, int count, const Kernel& kernel, bool repeat_edge) {
    PlainTaps taps;
    const int radius = static_cast<int>(kernel.radius);
    const double scale = static_cast<double>(source) / target;
    for (int index = start; index < start + count; ++index) {
        const double centre = (index + 0.5) * scale - 0.5;
        const int first = static_cast<int>(std::floor(centre)) + 1 - radius;
        std::vector<int> places;
        std::vector<double> weights;
        double sum = 0.0;
        for (int place = first; place < first + 2 * radius; ++place) {
            const bool inside = 0 <= place && place < source;
            weights.push_back(inside || repeat_edge ? kernel.weight(std::fabs(place - centre)) : 0.0);
            sum += weights.back();
            places.push_back(std::min(source - 1, std::max(0, place)));
        }
        if (!repeat_edge) {
            std::transform(weights.begin(), weights.end(), weights.begin(), [sum](double w) { return w / sum; });
        }
        taps.indices.push_back(places);
        taps.weights.push_back(weights);
    }
    return taps;
}

double rounded(double value) { return std::min(255.0, std::max(0.0, std::floor(value + 0.5))); }

}  // namespace

Image resized_as_pillow(const Image& image, int height, int width, const std::string& filter) {
    if (filter == "nearest") {
        return picked(image, pillow_nearest(image.height, height), pillow_nearest(image.width, width));
    }
    const Kernel kernel = kernel_named(filter, "pillow", pillow_cubic);
    const Image across = width == image.width ? image : columns_as_pillow(image, width, kernel);
    return height == image.height ? across : rows_as_pillow(across, height, kernel);
}

Image resized_plainly(const Image& image, int height, int width, const Window& window, const std::string& filter,
                      const std::string& library) {
    if (filter == "nearest") {
        return picked(image, corners(image.height, height, window.top, window.rows),
                      corners(image.width, width, window.left, window.columns));
    }
    const bool opencv = library == "opencv";
    const Kernel kernel = kernel_named(filter, library, cubic(opencv ? -0.75 : -0.5));
    const PlainTaps along = plain_taps(image.width, width, window.left, window.columns, kernel, opencv);
    const PlainTaps down = plain_taps(image.height, height, window.top, window.rows, kernel, opencv);
    const int row_values = window.columns * kChannels;
    std::vector<double> across(static_cast<size_t>(image.height) * static_cast<size_t>(row_values));
    for (int row = 0; row < image.height; ++row) {
        for (int value = 0; value < row_values; ++value) {
            const int column = value / kChannels, channel = value % kChannels;
            double sum = 0.0;
            for (size_t tap = 0; tap < along.weights[column].size(); ++tap) {
                sum += image.at(row, along.indices[column][tap])[channel] * along.weights[column][tap];
            }
            across[static_cast<size_t>(row) * row_values + value] = opencv ? sum : rounded(sum);
        }
    }
    Image result(window.rows, window.columns);
    for (int row = 0; row < window.rows; ++row) {
        for (int value = 0; value < row_values; ++value) {
            double sum = 0.0;
            for (size_t tap = 0; tap < down.weights[row].size(); ++tap) {
                sum += across[static_cast<size_t>(down.indices[row][tap]) * row_values + value] * down.weights[row][tap];
            }
            result.at(row, 0)[value] = clipped(rounded(sum));
        }
    }
    return result;
}

}  // namespace sample
