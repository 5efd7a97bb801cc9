// A picture in memory.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace sample {

constexpr int kChannels = 3;

// uint8 RGB, [height][width][3], row-major.
struct Image {
    int height = 0;
    int width = 0;
    std::vector<uint8_t> pixels;

    Image() = default;
    Image(int height, int width)
        : height(height), width(width), pixels(static_cast<size_t>(height) * static_cast<size_t>(width) * kChannels) {}

    const uint8_t* at(int row, int column) const { return pixels.data() + offset(row, column); }
    uint8_t* at(int row, int column) { return pixels.data() + offset(row, column); }

private:
    size_t offset(int row, int column) const {
        return (static_cast<size_t>(row) * static_cast<size_t>(width) + static_cast<size_t>(column)) * kChannels;
    }
};

}  // namespace sample
