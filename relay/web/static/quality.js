// What the relay has found wrong with a picture or its sound, in words.

import { addWords, t } from "./i18n.js";

addWords({
  en: {
    q_no_data: "Nothing comes", q_no_picture: "No picture comes", q_black: "Black picture",
    q_frozen: "Frozen picture", q_no_key_frame: "No key frame for long", q_slow: "Fewer pictures a second than usual", q_loss: "Packets are lost",
    q_time_jumps: "The terminal's time stamps jump", q_mute: "The sound is mute",
  },
  zh: {
    q_no_data: "终端没有数据", q_no_picture: "没有画面数据", q_black: "黑屏", q_frozen: "画面冻结", q_no_key_frame: "长时间没有关键帧",
    q_slow: "帧率低于平时", q_loss: "丢包：终端网络差", q_time_jumps: "终端时间戳跳变", q_mute: "静音：没有声音信号",
  },
});

/** Of the message `quality`: one note a cause. */
export const qualityNotes = (message) => message.causes.map((code) => t(`q_${code}`));
