#include "options.hpp"

#include <sstream>
#include <vector>

#include "error.hpp"

namespace sample {
namespace {

struct Text {
    const char* name;
    std::string Options::*field;
    bool required;
    const char* meaning;
};

struct Number {
    const char* name;
    int Options::*field;
    const char* meaning;
};

const std::vector<Text> kTexts = {
    {"magicmind_model", &Options::magicmind_model, true, "model file, its library beside it (alula compile)"},
    {"image_dir", &Options::image_dir, true, "folder of the pictures"},
    {"name_file", &Options::name_file, false, "class names, one a line"},
    {"label_file", &Options::label_file, true, "lines of `name label`: the pictures to take"},
    {"result_file", &Options::result_file, true, "where five classes and scores a picture go"},
    {"result_label_file", &Options::result_label_file, true, "where labels go"},
    {"result_top1_file", &Options::result_top1_file, true, "where the likeliest classes go"},
    {"result_top5_file", &Options::result_top5_file, true, "where the five likeliest classes go"},
};
const std::vector<Number> kNumbers = {
    {"device_id", &Options::device_id, "taken for the original's sake: the processors of this machine compute"},
    {"image_num", &Options::image_num, "only the first so many pictures (0: all)"},
    {"batch_size", &Options::batch_size, "pictures at a time (0: what the model was tuned for)"},
};

int number(const std::string& name, const std::string& value) {
    const bool digits = !value.empty() && value.size() < 10 && value.find_first_not_of("0123456789") == std::string::npos;
    if (!digits) {
        throw Error("--" + name + ": expected a whole number, got '" + value + "'");
    }
    return std::stoi(value);
}

void set(Options& options, const std::string& name, const std::string& value) {
    for (const Text& text : kTexts) {
        if (name == text.name) {
            options.*text.field = value;
            return;
        }
    }
    for (const Number& known : kNumbers) {
        if (name == known.name) {
            options.*known.field = number(name, value);
            return;
        }
    }
    throw Error("option: expected one of those that --help lists, got --" + name);
}

}  // namespace

Options parsed(int count, const char* const* words) {
    Options options;
    for (int index = 1; index < count; ++index) {
        const std::string word = words[index];
        if (word == "--help" || word == "-h") {
            options.help = true;
            return options;
        }
        if (word.size() < 3 || word.compare(0, 2, "--") != 0) {
            throw Error("option: expected --name value, got '" + word + "'");
        }
        const size_t equals = word.find('=');
        if (equals != std::string::npos) {
            set(options, word.substr(2, equals - 2), word.substr(equals + 1));
        } else if (index + 1 < count) {
            set(options, word.substr(2), words[++index]);
        } else {
            throw Error(word + ": expected a value, got none");
        }
    }
    for (const Text& text : kTexts) {
        if (text.required && (options.*text.field).empty()) {
            throw Error(std::string("--") + text.name + ": expected a value, got none");
        }
    }
    return options;
}

std::string usage() {
    std::ostringstream text;
    text << "infer: the classes of a folder's pictures, by a compiled model\n\n";
    for (const Text& known : kTexts) {
        text << "  --" << known.name << " PATH  " << known.meaning << '\n';
    }
    for (const Number& known : kNumbers) {
        text << "  --" << known.name << " N  " << known.meaning << '\n';
    }
    return text.str();
}

}  // namespace sample
