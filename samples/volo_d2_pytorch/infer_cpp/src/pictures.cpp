#include "pictures.hpp"

#include <algorithm>
#include <cctype>
#include <fstream>
#include <opencv2/imgcodecs.hpp>

#include "error.hpp"

namespace sample {
namespace {

const char* const kBlanks = " \t";
constexpr size_t kWordNetBytes = 9;  // n01440764

std::vector<std::string> lines(const std::string& path) {
    std::ifstream file(path);
    std::vector<std::string> found;
    for (std::string line; std::getline(file, line);) {
        while (!line.empty() && std::isspace(static_cast<unsigned char>(line.back()))) {
            line.pop_back();
        }
        found.push_back(line);
    }
    while (!found.empty() && found.back().empty()) {
        found.pop_back();
    }
    if (found.empty()) {
        throw Error("file " + path + ": expected at least one line, got " + (file.is_open() ? "an empty file" : "none"));
    }
    return found;
}

}  // namespace

std::vector<Picture> listed(const std::string& label_file, int count) {
    std::vector<Picture> pictures;
    for (const std::string& line : lines(label_file)) {
        if (count > 0 && static_cast<int>(pictures.size()) == count) {
            break;
        }
        const size_t label = line.find_last_of(kBlanks) + 1;  // 0 where there is no blank
        const size_t name_end = label ? line.find_last_not_of(kBlanks, label - 1) : std::string::npos;
        const bool number = line.size() - label < 10 && line.find_first_not_of("0123456789", label) == std::string::npos;
        if (name_end == std::string::npos || !number) {
            throw Error("label file " + label_file + " line " + std::to_string(pictures.size() + 1) +
                        ": expected `name label` with a class number, got '" + line + "'");
        }
        pictures.push_back({line.substr(0, name_end + 1), std::stoi(line.substr(label))});
    }
    return pictures;
}

std::vector<std::string> class_names(const std::string& name_file) {
    std::vector<std::string> names;
    for (const std::string& line : lines(name_file)) {
        const bool wordnet = line.size() > kWordNetBytes + 1 && line[0] == 'n' && line[kWordNetBytes] == ' ' &&
                             line.find_first_not_of("0123456789", 1) == kWordNetBytes;
        names.push_back(wordnet ? line.substr(line.find_first_not_of(kBlanks, kWordNetBytes)) : line);
    }
    return names;
}

Image decoded(const std::string& folder, const Picture& picture) {
    cv::Mat pixels;
    try {
        pixels = cv::imread(folder + "/" + picture.name, cv::IMREAD_COLOR);
    } catch (const cv::Exception& error) {  // of too many pixels
        throw Error("picture " + picture.name + ": expected a readable picture, got " + error.err);
    }
    if (pixels.empty()) {
        throw Error("picture " + picture.name + ": expected a readable picture, got none");
    }
    Image image(pixels.rows, pixels.cols);
    for (int row = 0; row < image.height; ++row) {
        const uint8_t* source = pixels.ptr<uint8_t>(row);
        uint8_t* target = image.at(row, 0);
        for (int column = 0; column < image.width; ++column, source += kChannels, target += kChannels) {
            std::reverse_copy(source, source + kChannels, target);  // OpenCV has blue first
        }
    }
    return image;
}

}  // namespace sample
